//! Passes on what was permitted, and nothing else: the application can only be dialled with a
//! [`Permit`](crate::authorize::Permit).
//!
//! * [`message`] is what passes between the two sides, whichever version of HTTP they speak.
//! * [`server`] reads requests and writes answers.
//! * [`exchange`] is one request: judge, rewrite, send, answer.
//! * [`headers`] says what the application gets to see, [`certificate`] what of the caller's.
//! * [`upstream`] and [`pool`] are the application's side.
//! * [`upgrade`] says which tunnels are asked for and granted, [`websocket`] asks the application, [`tunnel`] is one.
//! * [`stream`] passes on bytes, as [`copy`] has it; [`duplex`] makes them of an HTTP/2 stream, of which
//!   [`receiving`] is a body.
//! * [`wire`] reads and writes HTTP/1.1 by its bytes, on both sides.

mod body;
mod certificate;
mod copy;
mod date;
mod duplex;
mod exchange;
mod framing;
pub mod headers;
mod io;
mod message;
mod pool;
mod problem;
mod receiving;
mod room;
mod server;
mod stream;
mod told;
mod tunnel;
mod upgrade;
mod upstream;
mod websocket;
pub mod wire;

pub(crate) use self::certificate::Certificates;
pub(crate) use self::message::RequestHead;
pub(crate) use self::pool::Pool;
pub(crate) use self::server::{Serving, serve as http};
pub(crate) use self::stream::pass as bytes;
pub(crate) use self::upstream::{Timers, dial};
