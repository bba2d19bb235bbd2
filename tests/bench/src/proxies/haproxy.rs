//! `HAProxy`, of Debian's package.

use anyhow::Result;

use super::{BACKEND, HTTP, Kind, Programs, TCP, packaged, write};
use crate::pki::Pki;

pub(super) fn command(programs: &Programs, pki: &Pki) -> Result<(String, Vec<String>)> {
    let bind = |door: u16, alpn: &str| {
        format!(
            "bind 127.0.0.1:{} ssl crt {} ca-file {} verify required ssl-min-ver TLSv1.3 curves X25519 no-tls-tickets {alpn}",
            Kind::Haproxy.first_port() + door,
            pki.path("server.pem"),
            pki.path("callers.crt"),
        )
    };
    let text = format!(
        "global
  nbthread 1
  maxconn 9950
  tune.ssl.cachesize 0
defaults
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend http
  mode http
  {http}
  default_backend application
backend application
  mode http
  http-reuse always
  server application {BACKEND}
listen bytes
  mode tcp
  {tcp}
  server application {BACKEND}
",
        http = bind(HTTP, "alpn h2,http/1.1"),
        tcp = bind(TCP, ""),
    );
    let config = write(pki, "haproxy.cfg", &text)?;
    let (program, mut arguments) = packaged(programs, "usr/sbin/haproxy");
    arguments.extend(["-db", "-f", &config].map(str::to_owned));
    Ok((program, arguments))
}
