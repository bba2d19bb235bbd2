//! nginx, of Debian's package.

use anyhow::Result;

use super::{BACKEND, HTTP, Kind, Programs, TCP, packaged, write};
use crate::pki::Pki;

pub(super) fn command(programs: &Programs, pki: &Pki) -> Result<(String, Vec<String>)> {
    let root = programs.peers.join("root");
    let tls = format!(
        "ssl_certificate {};
    ssl_certificate_key {};
    ssl_client_certificate {};
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve X25519;
    ssl_session_cache off;
    ssl_session_tickets off;",
        pki.path("server.crt"),
        pki.path("server.key"),
        pki.path("callers.crt"),
    );
    let directory = pki.directory.display();
    let text = format!(
        "load_module {root}/usr/lib/nginx/modules/ngx_stream_module.so;
user root;
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 19990; }}
http {{
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_body_temp_path {directory}/nginx-body;
  proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-fastcgi;
  uwsgi_temp_path {directory}/nginx-uwsgi;
  scgi_temp_path {directory}/nginx-scgi;
  upstream application {{
    server {BACKEND};
    keepalive 64;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{http} ssl http2;
    {tls}
    client_max_body_size 0;
    location / {{
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
stream {{
  access_log off;
  server {{
    listen 127.0.0.1:{tcp} ssl;
    {tls}
    proxy_timeout 1h;
    proxy_pass {BACKEND};
  }}
}}
",
        root = root.display(),
        http = Kind::Nginx.first_port() + HTTP,
        tcp = Kind::Nginx.first_port() + TCP,
    );
    let config = write(pki, "nginx.conf", &text)?;
    let (program, mut arguments) = packaged(programs, "usr/sbin/nginx");
    arguments.extend(["-p", &directory.to_string(), "-e", "stderr", "-c", &config].map(str::to_owned));
    Ok((program, arguments))
}
