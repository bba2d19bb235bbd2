//! NGINX's configuration for one key: directives for one `location` (HTTP) or one `server` of `stream` (TCP).

use std::collections::BTreeMap;
use std::net::IpAddr;

use postern_config::policy::{ForwardedCertificate, Protocol, Transport};

use crate::inputs::{KeyId, SecretText};
use crate::plan::BackendPlan;
use crate::render::gateway_secret::{CA_KEY, CERTIFICATE_KEY, PRIVATE_KEY_KEY};
use crate::render::nginx_encode::{Refused, Word, secret, word};

/// Directives for one `location`.
pub const LOCATION_FILE: &str = "location.conf";
/// Directives for one `server` of `stream`.
pub const STREAM_FILE: &str = "stream.conf";
/// Instead of [`LOCATION_FILE`], for connections that are kept; needs [`UPSTREAM_FILE`].
pub const KEPT_LOCATION_FILE: &str = "kept-location.conf";
/// An `upstream` of `http`.
pub const UPSTREAM_FILE: &str = "upstream.conf";
/// All of them.
pub const FILES: [&str; 4] = [LOCATION_FILE, KEPT_LOCATION_FILE, UPSTREAM_FILE, STREAM_FILE];

/// The longest client certificate of which `Client-Cert` tells, in lines of 48 bytes: 3 KiB.
const PEM_LINES: usize = 64;

/// Where a gateway mounts the Secret and the `ConfigMap` of a key.
pub fn mount_path(id: &KeyId) -> String {
    format!("/etc/postern/{}", id.object_name())
}

/// The name of the file that a backend needs.
pub fn file_name(backend: &BackendPlan) -> &'static str {
    match backend.protocol {
        Protocol::HTTP | Protocol::H2C | Protocol::HTTPS => LOCATION_FILE,
        Protocol::TCP | Protocol::UDP => STREAM_FILE,
    }
}

/// The names of all files that [`files`] makes for a backend.
pub const fn file_names(backend: &BackendPlan) -> &'static [&'static str] {
    match backend.protocol {
        Protocol::HTTP | Protocol::H2C | Protocol::HTTPS => {
            &[LOCATION_FILE, KEPT_LOCATION_FILE, UPSTREAM_FILE]
        }
        Protocol::TCP | Protocol::UDP => &[STREAM_FILE],
    }
}

/// The configuration files.
///
/// # Errors
/// [`Refused`], if a text can't stand in the configuration.
pub fn files(
    id: &KeyId,
    backend: &BackendPlan,
    headers: &Headers,
) -> Result<BTreeMap<String, String>, Refused> {
    let module = if backend.protocol == Protocol::H2C { Module::Grpc } else { Module::Proxy };
    let mut texts = Texts::new(id, backend)?;
    texts.headers = headers.lines(module)?;
    let named = |name: &str, text| (name.to_owned(), text);
    Ok(match backend.protocol {
        Protocol::HTTP | Protocol::HTTPS | Protocol::H2C => BTreeMap::from([
            named(LOCATION_FILE, location(&texts, module, &texts.upstream)),
            named(KEPT_LOCATION_FILE, location(&texts, module, &texts.pool)),
            named(UPSTREAM_FILE, upstream(&texts)),
        ]),
        Protocol::TCP | Protocol::UDP => BTreeMap::from([named(STREAM_FILE, stream(&texts))]),
    })
}

/// Which of NGINX's modules passes requests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Module {
    /// HTTP/1.1, and WebSocket.
    Proxy,
    /// HTTP/2, with trailers, as gRPC needs them.
    Grpc,
}

impl Module {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Grpc => "grpc",
        }
    }
}

/// The headers that the gateway's locks ask for, by name. An empty value: there is none yet, and what a client sends is
/// not passed on.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, SecretText)>);

impl Headers {
    fn lines(&self, module: Module) -> Result<String, Refused> {
        let prefix = module.prefix();
        let line = |(name, value): &(String, SecretText)| {
            let (name, value) =
                (word("the header's name", name)?, secret("the header's value", value.expose())?);
            Ok(format!("{prefix}_set_header {name} {value};\n"))
        };
        self.0.iter().map(line).collect()
    }
}

/// Everything that comes from outside this file, encoded.
struct Texts {
    route: Word,
    upstream: Word,
    /// Name of the `upstream` whose connections are kept: the key's own, since whoever holds a connection holds its
    /// certificate.
    pool: Word,
    server_name: Word,
    certificate: Word,
    private_key: Word,
    ca: Word,
    presents_certificate: bool,
    plaintext: bool,
    headers: String,
    tells_of_client: bool,
}

impl Texts {
    fn new(id: &KeyId, backend: &BackendPlan) -> Result<Self, Refused> {
        let mount = mount_path(id);
        let file = |name| word("the path", &format!("{mount}/{name}"));
        let address = backend.addresses.first().map(|address| match address {
            IpAddr::V4(address) => format!("{address}:{}", backend.service_port),
            IpAddr::V6(address) => format!("[{address}]:{}", backend.service_port),
        });
        Ok(Self {
            route: word("the route", &format!("{}/{}", id.namespace, id.route))?,
            upstream: word("the Service's address", &address.unwrap_or_default())?,
            pool: word("the upstream's name", &format!("postern.{}", id.object_name()))?,
            server_name: word("the server name", &backend.server_name)?,
            certificate: file(CERTIFICATE_KEY)?,
            private_key: file(PRIVATE_KEY_KEY)?,
            ca: file(CA_KEY)?,
            presents_certificate: backend.door.knows_certificates(),
            plaintext: backend.door.transport == Transport::Plaintext,
            headers: String::new(),
            tells_of_client: backend.forwarded_certificate == ForwardedCertificate::Append,
        })
    }

    /// TLS to the backend, the same for all modules. Depth 2 is an intermediate between leaf and root, as there is
    /// while a CA is replaced. Sessions are not resumed, since the sidecar resumes none. A certificate is presented only
    /// where a lock can be opened by it.
    fn tls(&self, module: Module) -> String {
        let Self { certificate, private_key, ca, server_name, presents_certificate, .. } = self;
        let p = module.prefix();
        let own = if *presents_certificate {
            format!("{p}_ssl_certificate {certificate};\n{p}_ssl_certificate_key {private_key};\n")
        } else {
            String::new()
        };
        format!(
            "{own}\
             {p}_ssl_trusted_certificate {ca};\n\
             {p}_ssl_verify on;\n\
             {p}_ssl_verify_depth 2;\n\
             {p}_ssl_name {server_name};\n\
             {p}_ssl_server_name on;\n\
             {p}_ssl_protocols TLSv1.3;\n\
             {p}_ssl_session_reuse off;\n"
        )
    }
}

/// The address is literal, so that NGINX starts whether or not a name can be resolved. The path is passed as it came
/// (without a path behind the address), so that the sidecar judges what the client sent.
///
/// Of upgrades only WebSocket is passed on, and of the client's `Connection` nothing: whatever it names would be
/// taken out on the way. In `if` there is nothing but `set`, which is what may stand there.
fn location(texts: &Texts, module: Module, upstream: &Word) -> String {
    let Texts { route, headers, .. } = texts;
    let p = module.prefix();
    let scheme = match (module, texts.plaintext) {
        (Module::Proxy, false) => "https",
        (Module::Proxy, true) => "http",
        (Module::Grpc, false) => "grpcs",
        (Module::Grpc, true) => "grpc",
    };
    let pass = match module {
        Module::Proxy => format!(
            "proxy_pass {scheme}://{upstream};\n\
             proxy_http_version 1.1;\n\
             proxy_redirect off;\n\
             proxy_buffering off;\n\
             proxy_request_buffering off;\n\
             set $postern_upgrade \"\";\n\
             set $postern_connection \"\";\n\
             if ($http_upgrade ~* \"^websocket$\") {{\n\
             \x20   set $postern_upgrade websocket;\n\
             \x20   set $postern_connection upgrade;\n\
             }}\n\
             proxy_set_header Upgrade $postern_upgrade;\n\
             proxy_set_header Connection $postern_connection;\n"
        ),
        Module::Grpc => format!("grpc_pass {scheme}://{upstream};\n"),
    };
    let client = if texts.tells_of_client { client(module) } else { String::new() };
    let tls = if texts.plaintext { String::new() } else { texts.tls(module) };
    format!(
        "# Written by Postern for ApiRoute {route}. Include it in one location; see README.md beside it.\n\
         {pass}\
         {p}_set_header Host $http_host;\n\
         {p}_set_header X-Forwarded-For $remote_addr;\n\
         {p}_set_header X-Forwarded-Host $http_host;\n\
         {p}_set_header X-Forwarded-Proto $scheme;\n\
         {client}{headers}{tls}"
    )
}

/// What NGINX tells of its own client's certificate, once it has verified it, in place of what the client writes there.
/// It has the certificate as PEM: in Envoy's format that is an element's `Cert`, percent-encoded; RFC 9440 wants it
/// without its first and last line and without line ends, which takes one capture for each line. The possessive `?+`
/// keeps a certificate of more lines from being tried in every other way.
fn client(module: Module) -> String {
    let p = module.prefix();
    let lines = || (1..=PEM_LINES).map(|line| format!("postern_pem_{line}"));
    let pattern = lines().map(|line| format!(r"(?:(?<{line}>[^-\n]++)\n)?+")).collect::<Vec<_>>().concat();
    let joined = lines().map(|line| format!("${{{line}}}")).collect::<Vec<_>>().concat();
    format!(
        "set $postern_forwarded \"\";\n\
         set $postern_pem \"\";\n\
         set $postern_client \"\";\n\
         if ($ssl_client_verify = SUCCESS) {{\n\
         \x20   set $postern_forwarded 'Cert=\"$ssl_client_escaped_cert\"';\n\
         \x20   set $postern_pem $ssl_client_raw_cert;\n\
         }}\n\
         if ($postern_pem ~ '^-----BEGIN CERTIFICATE-----\\n{pattern}-----END CERTIFICATE-----') {{\n\
         \x20   set $postern_client ':{joined}:';\n\
         }}\n\
         {p}_set_header X-Forwarded-Client-Cert $postern_forwarded;\n\
         {p}_set_header Client-Cert $postern_client;\n\
         {p}_set_header Client-Cert-Chain \"\";\n"
    )
}

/// Connections are given up before the sidecar gives them up.
fn upstream(texts: &Texts) -> String {
    let Texts { route, upstream, pool, .. } = texts;
    format!(
        "# Written by Postern for ApiRoute {route}. Include it in http; see README.md beside it.\n\
         upstream {pool} {{\n\
         \x20   server {upstream};\n\
         \x20   keepalive 16;\n\
         \x20   keepalive_timeout 60s;\n\
         }}\n"
    )
}

fn stream(texts: &Texts) -> String {
    let Texts { route, upstream, .. } = texts;
    let tls = texts.tls(Module::Proxy);
    format!(
        "# Written by Postern for ApiRoute {route}. Include it in one server of stream; see README.md beside it.\n\
         proxy_pass {upstream};\n\
         proxy_ssl on;\n\
         {tls}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::Door;
    use postern_config::policy::PortRef;
    use postern_crds::api_route::Verification;

    fn backend() -> BackendPlan {
        BackendPlan {
            service: "orders".to_owned(),
            service_port: 80,
            addresses: vec!["10.96.0.10".parse().unwrap()],
            dns_name: "orders.shop.svc.cluster.local".to_owned(),
            server_name: "orders.shop.svc".to_owned(),
            verification: Verification::Full,
            forwarded_certificate: ForwardedCertificate::Replace,
            port: PortRef::Number(8080),
            container_port: Some(8080),
            protocol: Protocol::HTTP,
            door: Door::mutual_tls(),
        }
    }

    fn id() -> KeyId {
        KeyId { gateway: "edge".to_owned(), namespace: "shop".to_owned(), route: "orders".to_owned() }
    }

    #[test]
    fn an_ipv6_address_is_bracketed() {
        let backend = BackendPlan { addresses: vec!["fd00::10".parse().unwrap()], ..backend() };
        let files = files(&id(), &backend, &Headers::default()).unwrap();
        assert!(files[LOCATION_FILE].contains("\nproxy_pass https://[fd00::10]:80;\n"));
    }

    #[test]
    fn http2_is_passed_on_as_such() {
        let backend = BackendPlan { protocol: Protocol::H2C, ..backend() };
        let grpc = files(&id(), &backend, &Headers::default()).unwrap();
        assert!(grpc[LOCATION_FILE].contains("\ngrpc_pass grpcs://10.96.0.10:80;\n"));
        assert!(grpc[KEPT_LOCATION_FILE].contains("\ngrpc_pass grpcs://postern.edge.shop.orders;\n"));
        assert!(
            grpc[UPSTREAM_FILE].contains("upstream postern.edge.shop.orders {\n    server 10.96.0.10:80;\n")
        );
        assert!(!grpc[LOCATION_FILE].contains("proxy_"), "{}", grpc[LOCATION_FILE]);
    }

    #[test]
    fn a_gateway_tells_of_its_client_only_where_the_route_lets_it() {
        let telling = |protocol, forwarded_certificate| {
            let backend = BackendPlan { forwarded_certificate, protocol, ..backend() };
            files(&id(), &backend, &Headers::default()).unwrap().remove(LOCATION_FILE).unwrap()
        };
        for (protocol, module) in [(Protocol::HTTP, "proxy"), (Protocol::H2C, "grpc")] {
            assert!(!telling(protocol, ForwardedCertificate::Replace).contains("lient-Cert"), "{module}");
            let text = telling(protocol, ForwardedCertificate::Append);
            // All three are written, so that what the client wrote there is not passed on.
            for line in [
                "X-Forwarded-Client-Cert $postern_forwarded;",
                "Client-Cert $postern_client;",
                "Client-Cert-Chain \"\";",
            ] {
                assert!(text.contains(&format!("\n{module}_set_header {line}\n")), "{line}: {text}");
            }
            // NGINX reads no argument of 4096 bytes or more.
            assert!(text.lines().all(|line| line.len() < 4096));
        }
    }

    #[test]
    fn every_file_has_a_name_by_which_it_is_mounted_and_kept() {
        for protocol in [Protocol::HTTP, Protocol::H2C, Protocol::HTTPS, Protocol::TCP] {
            let backend = BackendPlan { protocol, ..backend() };
            let made = files(&id(), &backend, &Headers::default()).unwrap();
            let named: BTreeSet<&str> = file_names(&backend).iter().copied().collect();
            assert_eq!(made.keys().map(String::as_str).collect::<BTreeSet<_>>(), named, "{protocol:?}");
            assert!(named.iter().all(|name| FILES.contains(name)), "{protocol:?}");
            let readme = crate::render::readme::nginx(&id(), &backend);
            for name in named {
                assert!(
                    readme.contains(&format!("{{key: {name}, path: {name}}}")),
                    "{protocol:?} {name}: {readme}"
                );
            }
        }
    }

    #[test]
    fn no_text_breaks_out() {
        for evil in ["x; return 200", "x\n}", "x\"", "$host", "x#", "x\\", ""] {
            let named = BackendPlan { server_name: evil.to_owned(), ..backend() };
            assert!(files(&id(), &named, &Headers::default()).is_err(), "{evil:?} as the server name");
            if !evil.is_empty() {
                let route = KeyId { route: evil.to_owned(), ..id() };
                assert!(files(&route, &backend(), &Headers::default()).is_err(), "{evil:?} as the route");
            }
        }
        let nowhere = BackendPlan { addresses: Vec::new(), ..backend() };
        assert!(files(&id(), &nowhere, &Headers::default()).is_err(), "no address");
    }
}
