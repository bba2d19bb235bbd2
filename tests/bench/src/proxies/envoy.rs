//! Envoy, of the package that `PyPI` has.

use anyhow::Result;
use serde_json::{Value, json};

use super::{BACKEND, HTTP, Kind, Programs, TCP, write};
use crate::pki::Pki;

pub(super) fn command(programs: &Programs, pki: &Pki) -> Result<(String, Vec<String>)> {
    let tcp_proxy = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp", "cluster": "application", "idle_timeout": "3600s",
        },
    });
    let connection_manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "codec_type": "AUTO",
            "common_http_protocol_options": {"idle_timeout": "3600s"},
            "route_config": {"virtual_hosts": [{
                "name": "application", "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "application"}}],
            }]},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }],
        },
    });
    let most = json!({"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000});
    let config = json!({
        "static_resources": {
            "listeners": [
                listener(pki, HTTP, &["h2", "http/1.1"], &connection_manager),
                listener(pki, TCP, &[], &tcp_proxy),
            ],
            "clusters": [{
                "name": "application",
                "type": "STATIC",
                "connect_timeout": "5s",
                "circuit_breakers": {"thresholds": [most]},
                "load_assignment": {"cluster_name": "application", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": address(BACKEND.port())}},
                ]}]},
            }],
        },
    });
    let config = write(pki, "envoy.json", &config.to_string())?;
    let program = programs.peers.join("envoy").display().to_string();
    let arguments = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c", &config];
    Ok((program, arguments.map(str::to_owned).into()))
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn listener(pki: &Pki, door: u16, alpn: &[&str], filter: &Value) -> Value {
    json!({
        "name": format!("door-{door}"),
        "address": address(Kind::Envoy.first_port() + door),
        "filter_chains": [{
            "filters": [filter],
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "require_client_certificate": true,
                    "disable_stateless_session_resumption": true,
                    "disable_stateful_session_resumption": true,
                    "common_tls_context": {
                        "alpn_protocols": alpn,
                        "tls_params": {
                            "tls_minimum_protocol_version": "TLSv1_3",
                            "tls_maximum_protocol_version": "TLSv1_3",
                            "ecdh_curves": ["X25519MLKEM768", "X25519"],
                        },
                        "tls_certificates": [{
                            "certificate_chain": {"filename": pki.path("server.crt")},
                            "private_key": {"filename": pki.path("server.key")},
                        }],
                        "validation_context": {"trusted_ca": {"filename": pki.path("callers.crt")}},
                    },
                },
            },
        }],
    })
}
