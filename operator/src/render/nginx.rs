//! NGINX's configuration for one key: directives for one `location` (HTTP) or one `server` of `stream` (TCP).

use std::collections::BTreeMap;
use std::net::IpAddr;

use postern_config::policy::{Protocol, Transport};

use crate::inputs::{KeyId, SecretText};
use crate::plan::BackendPlan;
use crate::render::gateway_secret::{CA_KEY, CERTIFICATE_KEY, PRIVATE_KEY_KEY};
use crate::render::nginx_encode::{Refused, Word, secret, word};

/// Directives for one `location`.
pub const LOCATION_FILE: &str = "location.conf";
/// Directives for one `server` of `stream`.
pub const STREAM_FILE: &str = "stream.conf";

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

/// The configuration files.
///
/// # Errors
/// [`Refused`], if a text can't stand in the configuration.
pub fn files(
    id: &KeyId,
    backend: &BackendPlan,
    headers: &Headers,
) -> Result<BTreeMap<String, String>, Refused> {
    let mut texts = Texts::new(id, backend)?;
    texts.headers = headers.lines()?;
    let text = match backend.protocol {
        Protocol::HTTP | Protocol::H2C | Protocol::HTTPS => location(&texts),
        Protocol::TCP | Protocol::UDP => stream(&texts),
    };
    Ok(BTreeMap::from([(file_name(backend).to_owned(), text)]))
}

/// The headers that the gateway's locks ask for, by name. An empty value: there is none yet, and what a client sends is
/// not passed on.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, SecretText)>);

impl Headers {
    fn lines(&self) -> Result<String, Refused> {
        let mut lines = String::new();
        for (name, value) in &self.0 {
            let (name, value) =
                (word("the header's name", name)?, secret("the header's value", value.expose())?);
            lines.push_str(&format!("proxy_set_header {name} {value};\n"));
        }
        Ok(lines)
    }
}

/// Everything that comes from outside this file, encoded.
struct Texts {
    route: Word,
    upstream: Word,
    server_name: Word,
    certificate: Word,
    private_key: Word,
    ca: Word,
    presents_certificate: bool,
    plaintext: bool,
    headers: String,
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
            server_name: word("the server name", &backend.server_name)?,
            certificate: file(CERTIFICATE_KEY)?,
            private_key: file(PRIVATE_KEY_KEY)?,
            ca: file(CA_KEY)?,
            presents_certificate: backend.door.knows_certificates(),
            plaintext: backend.door.transport == Transport::Plaintext,
            headers: String::new(),
        })
    }

    /// TLS to the backend, the same for both modules. Depth 2 is an intermediate between leaf and root, as there is
    /// while a CA is replaced. Sessions are not resumed, since the sidecar resumes none. A certificate is presented only
    /// where a lock can be opened by it.
    fn tls(&self) -> String {
        let Self { certificate, private_key, ca, server_name, presents_certificate, .. } = self;
        let own = if *presents_certificate {
            format!("proxy_ssl_certificate {certificate};\nproxy_ssl_certificate_key {private_key};\n")
        } else {
            String::new()
        };
        format!(
            "{own}\
             proxy_ssl_trusted_certificate {ca};\n\
             proxy_ssl_verify on;\n\
             proxy_ssl_verify_depth 2;\n\
             proxy_ssl_name {server_name};\n\
             proxy_ssl_server_name on;\n\
             proxy_ssl_protocols TLSv1.3;\n\
             proxy_ssl_session_reuse off;\n"
        )
    }
}

/// The address is literal, so that NGINX starts whether or not a name can be resolved. The path is passed as it came
/// (`proxy_pass` without a path), so that the sidecar judges what the client sent.
fn location(texts: &Texts) -> String {
    let Texts { route, upstream, headers, .. } = texts;
    let (scheme, tls) = if texts.plaintext { ("http", String::new()) } else { ("https", texts.tls()) };
    format!(
        "# Written by Postern for ApiRoute {route}. Include it in one location; see README.md beside it.\n\
         proxy_pass {scheme}://{upstream};\n\
         proxy_http_version 1.1;\n\
         proxy_redirect off;\n\
         proxy_buffering off;\n\
         proxy_request_buffering off;\n\
         proxy_set_header Host $http_host;\n\
         proxy_set_header Connection \"\";\n\
         proxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_set_header X-Forwarded-Host $http_host;\n\
         proxy_set_header X-Forwarded-Proto $scheme;\n\
         {headers}{tls}"
    )
}

fn stream(texts: &Texts) -> String {
    let Texts { route, upstream, .. } = texts;
    let tls = texts.tls();
    format!(
        "# Written by Postern for ApiRoute {route}. Include it in one server of stream; see README.md beside it.\n\
         proxy_pass {upstream};\n\
         proxy_ssl on;\n\
         {tls}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Door;
    use postern_config::policy::PortRef;

    fn backend() -> BackendPlan {
        BackendPlan {
            service: "orders".to_owned(),
            service_port: 80,
            addresses: vec!["10.96.0.10".parse().unwrap()],
            dns_name: "orders.shop.svc.cluster.local".to_owned(),
            server_name: "orders.shop.svc".to_owned(),
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
