//! Every protocol that an application speaks, through the real program, with real clients and servers.

mod applications;
mod bodies;
mod grpc;
mod server;
mod stage;
mod tcp;
mod websocket;
