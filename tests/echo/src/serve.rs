//! The server: HTTP/1.1 and HTTP/2, TCP and UDP, on all addresses of both families or on loopback alone.

mod http;
mod tee;
mod websocket;

pub use http::Seen;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use crate::control::{self, State};
use crate::tls;

/// Where to listen; a port that is not named is not opened.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// HTTP/1.1 and HTTP/2 with prior knowledge; may be given several times.
    #[arg(long, default_values_t = [8080])]
    pub http: Vec<u16>,
    /// The same behind TLS with a self-signed certificate.
    #[arg(long)]
    pub https: Option<u16>,
    /// A greeting, then everything back.
    #[arg(long)]
    pub tcp: Option<u16>,
    /// Every datagram back.
    #[arg(long)]
    pub udp: Option<u16>,
    /// HTTP on a port that no manifest declares.
    #[arg(long)]
    pub undeclared: Option<u16>,
    /// Listen on 127.0.0.1 alone.
    #[arg(long)]
    pub loopback: bool,
}

/// What the TCP port says first.
pub const GREETING: &str = "hello from the application\n";

/// Completes when the process is told to end.
pub async fn terminated() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}

/// Serves until SIGTERM.
///
/// # Errors
/// If a port cannot be opened.
pub async fn run(options: Options) -> std::io::Result<()> {
    let local = LocalSet::new();
    let state = State::default();
    let control = TcpListener::bind(("127.0.0.1", control::PORT)).await?;
    local.spawn_local(control::serve(control, state.clone()));
    for port in &options.http {
        local.spawn_local(accept_http(listen(*port, options.loopback)?, None, false, state.clone()));
    }
    if let Some(port) = options.undeclared {
        local.spawn_local(accept_http(listen(port, options.loopback)?, None, true, state.clone()));
    }
    if let Some(port) = options.https {
        let config = tls::self_signed_server().map_err(std::io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        local.spawn_local(accept_http(listen(port, options.loopback)?, Some(acceptor), false, state.clone()));
    }
    if let Some(port) = options.tcp {
        local.spawn_local(accept_tcp(listen(port, options.loopback)?, state.clone()));
    }
    if let Some(port) = options.udp {
        local.spawn_local(echo_datagrams(
            UdpSocket::bind(address(port, options.loopback)).await?,
            state.clone(),
        ));
    }
    println!("{}", serde_json::json!({"message": "serving", "options": format!("{options:?}")}));
    local.run_until(terminated()).await;
    Ok(())
}

fn address(port: u16, loopback: bool) -> SocketAddr {
    let ip = if loopback { Ipv4Addr::LOCALHOST.to_ipv6_mapped() } else { Ipv6Addr::UNSPECIFIED };
    (ip, port).into()
}

/// Both families on one socket, whatever the host's default.
fn listen(port: u16, loopback: bool) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address(port, loopback).into())?;
    socket.listen(512)?;
    TcpListener::from_std(socket.into())
}

async fn accept_http(listener: TcpListener, acceptor: Option<TlsAcceptor>, undeclared: bool, state: State) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let connection = http::Connection::new(peer, undeclared, state.clone());
        let acceptor = acceptor.clone();
        tokio::task::spawn_local(async move {
            match acceptor {
                None => connection.serve(stream).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => connection.serve(stream).await,
                    Err(error) => eprintln!("postern-echo: {peer}: TLS: {error}"),
                },
            }
        });
    }
}

async fn accept_tcp(listener: TcpListener, state: State) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        state.counters.count(|hits| hits.tcp_connections += 1);
        tokio::task::spawn_local(echo_bytes(stream));
    }
}

async fn echo_bytes(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(GREETING.as_bytes()).await?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(buffer.get(..length).unwrap_or_default()).await?;
    }
}

async fn echo_datagrams(socket: UdpSocket, state: State) {
    let mut buffer = [0; 2048];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        state.counters.count(|hits| hits.datagrams += 1);
        // A lost answer is the caller's to notice.
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), peer).await;
    }
}
