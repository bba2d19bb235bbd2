//! How a gateway's owner uses what Postern wrote, in the `ConfigMap` beside it.

use postern_config::policy::{ForwardedCertificate, Protocol};

use crate::inputs::KeyId;
use crate::plan::BackendPlan;
use crate::render::gateway_secret::{CA_KEY, CERTIFICATE_KEY, PRIVATE_KEY_KEY};
use crate::render::nginx;

/// The `ConfigMap`'s key.
pub const KEY: &str = "README.md";

/// For NGINX. The names in it are those of Kubernetes objects, so they need no encoding.
pub fn nginx(id: &KeyId, backend: &BackendPlan) -> String {
    let name = id.object_name();
    let mount = nginx::mount_path(id);
    let file = nginx::file_name(backend);
    let glob = file.replace(".conf", "*.conf");
    let (place, example) = match backend.protocol {
        Protocol::HTTP | Protocol::H2C | Protocol::HTTPS => (
            "the `location` whose requests are to go there",
            format!(
                "    location / {{\n        root /var/empty;  # 404 once the route is deleted\n        include {mount}/{glob};\n    }}"
            ),
        ),
        Protocol::TCP | Protocol::UDP => (
            "a `server` of the `stream` block",
            format!(
                "    stream {{\n        server {{\n            listen 9000;  # your choice\n            return \"\";  # once the route is deleted; before the include, which takes its place\n            include {mount}/{glob};\n        }}\n    }}"
            ),
        ),
    };
    let names = nginx::file_names(backend);
    let items: Vec<String> = [CERTIFICATE_KEY, PRIVATE_KEY_KEY, CA_KEY]
        .iter()
        .chain(names)
        .map(|name| format!("                  - {{key: {name}, path: {name}}}"))
        .collect();
    let (items, names) = (items.join("\n"), names.join(", "));
    let kept = kept(backend.protocol, &mount);
    let client = client(backend);
    format!(
        "# ApiRoute {namespace}/{route} on gateway {gateway}

Written by Postern; changes are overwritten. NGINX 1.22 or later.

## Mount

In NGINX's pod, the Secret and the ConfigMap of this name together, both optional so that a deleted route never keeps
NGINX from starting:

    volumes:
      - name: {volume}  # any name of yours
        projected:
          sources:
            - secret:
                name: {name}
                optional: true
                items:
{items}
            - configMap:
                name: {name}
                optional: true
    containers:
      - name: nginx
        volumeMounts:
          - name: {volume}
            mountPath: {mount}
            readOnly: true

## Include

In {place}, with the asterisk, so that a missing file is no error:

{example}

{kept}{client}Where a lock asks for a credential or a secret header, the configuration ({names}) is in the
Secret, and in the ConfigMap else.

A gateway outside the cluster: put the files listed under Mount there by your own means, and where the Service's
address stands write the one by which the gateway reaches it.

## Reload

NGINX reads these files when it starts and when it is told to reload (`nginx -s reload`, which loses no request). Reload
it when the files change. Certificates and generated credentials are replaced a third of their life before they end,
and the old ones are accepted for a day after that, if the route's rotation says nothing else, so a reload every hour is always in time:

    while sleep 3600; do nginx -s reload; done &

A backend's address changes only when its Service is made anew; reload then.
",
        namespace = id.namespace,
        route = id.route,
        gateway = id.gateway,
        volume = "postern-key",
    )
}

/// What NGINX needs to tell of its own client's certificate.
fn client(backend: &BackendPlan) -> &'static str {
    match backend.forwarded_certificate {
        ForwardedCertificate::Replace => "",
        ForwardedCertificate::Append => {
            "The route lets this gateway tell of its client's certificate, in `X-Forwarded-Client-Cert` (Envoy's format, \
             with\n`Cert`) and in `Client-Cert` (RFC 9440). It does for a certificate that it has verified: say \
             `ssl_verify_client on` or\n`optional`, and `ssl_client_certificate`, in the `server`. What the client writes \
             in these headers is dropped. NGINX has no\nway to pass on the chain, and tells in `Client-Cert` of \
             certificates of up to 3 KiB alone.\n\n"
        }
    }
}

/// How connections are kept, and what streams need; nothing for TCP.
fn kept(protocol: Protocol, mount: &str) -> String {
    let [upstream, location] =
        [nginx::UPSTREAM_FILE, nginx::KEPT_LOCATION_FILE].map(|file| file.replace(".conf", "*.conf"));
    let (module, note) = match protocol {
        Protocol::TCP | Protocol::UDP => return String::new(),
        Protocol::H2C => (
            "grpc",
            "The backend speaks HTTP/2, and so does NGINX to it, with trailers (`grpc_pass`). For clients that speak \
             it too,\ngRPC's among them, say `http2` in the server's `listen`. WebSocket does not pass that way.",
        ),
        Protocol::HTTP | Protocol::HTTPS => {
            ("proxy", "WebSocket is passed on. Answers and uploads are passed on as they come.")
        }
    };
    format!(
        "To keep connections to the backend instead of opening one for each request, include two other files instead, \
         the\nfirst in `http`, the second in the `location`:

    include {mount}/{upstream};
    location / {{
        root /var/empty;
        include {mount}/{location};
    }}

{note} A stream that is silent for longer than NGINX's\n`{module}_read_timeout` (60 s, where you say nothing else) is \
         ended; the sidecar itself waits an hour. NGINX refuses\nwhat a client sends beyond `client_max_body_size` (1 MiB, \
         where you say nothing else), all messages of one stream\ntogether; the sidecar has no such limit.

"
    )
}
