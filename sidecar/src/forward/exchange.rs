//! One request: judge, rewrite, send, answer.

use std::rc::Rc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::{Body as _, Incoming};

use super::body::{Answer, InFlight, Outbound};
use super::headers::{self, Identity};
use super::pool::{Key, Lease};
use super::{framing, problem, upstream};
use crate::authorize::path::Path;
use crate::authorize::{self, Ask, Code, Denial, Permit, authorize};
use crate::connection::Connection;
use crate::identify::Caller;
use crate::log::{self, Asked};
use crate::signal::Order;
use crate::worker::Worker;

/// What the requests of one connection share.
pub(super) struct Session {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Rc<Connection>,
    pub(super) identity: Identity,
    pub(super) pool_key: Key,
}

/// A permitted request's answer, and by which route.
struct Forwarded {
    response: Response<Incoming>,
    lease: Lease,
    route: String,
}

/// Answers one request.
pub(super) async fn answer(session: Rc<Session>, request: Request<Incoming>) -> Response<Answer> {
    let in_flight = InFlight::start(&session.connection);
    let is_http2 = request.version() == Version::HTTP_2;
    let request_id = headers::request_id(request.headers());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    // Host stands in the head alone with HTTP/1.1; a refusal's log line wants it too.
    let host = request.headers().get(http::header::HOST).cloned();

    let outcome = forward(&session, request, &request_id).await;
    let asked = Asked {
        method: Some(method.as_str()),
        host: uri.authority().map(http::uri::Authority::as_str).or_else(|| host.as_ref()?.to_str().ok()),
        path: Some(uri.path()),
        request_id: request_id.to_str().ok(),
    };
    let response = match outcome {
        Ok(Forwarded { response, lease, route }) => {
            let (mut parts, body) = response.into_parts();
            parts.version = Version::HTTP_11;
            headers::to_caller(&mut parts.headers);
            session.log_permit(&route, parts.status.as_u16(), asked);
            Response::from_parts(parts, Answer::application(body, lease, in_flight))
        }
        Err(denial) => session.refuse(&denial, asked).map(|document| Answer::problem(document, in_flight)),
    };
    session.worker.metrics.request(is_http2, response.status().as_u16());
    response
}

/// Judges and sends. What is matched (host, path) is what is forwarded: both come out of the permit.
async fn forward(
    session: &Session,
    request: Request<Incoming>,
    request_id: &HeaderValue,
) -> Result<Forwarded, Denial> {
    let worker = &session.worker;
    let (parts, body) = request.into_parts();
    let Parts { method, uri, version, headers: mut fields, .. } = parts;
    framing::check(&method, version, &fields, worker.limits.header_count)?;

    let host_field = fields.get(http::header::HOST).cloned();
    let host = framing::host(&uri, &fields)?;
    let host = host_value(host.as_str(), host_field)?;
    let host_text = host.to_str().map_err(|_| Denial::new(Code::InvalidHost, "the host is no text"))?;
    let host_name = authorize::host::Host::parse(host_text)?;
    let path = Path::parse(path_of(&uri, &method)?)?;

    let generation =
        worker.generation().ok_or_else(|| Denial::new(Code::NoPolicy, "no valid policy is loaded"))?;
    let ask = Ask::Http { method: &method, host: &host_name, path: &path };
    let who = session.connection.caller.as_ref().map(Caller::who);
    let request = authorize::Request { port: session.connection.target.port, who, ask };
    let permit = authorize(&generation.gate.policy, &request)?;

    headers::to_application(&mut fields, host.clone(), request_id, &session.identity);
    let body = if body.is_end_stream() { Outbound::Empty } else { Outbound::Caller(body) };
    if body.size_hint().exact().is_none() {
        headers::send_in_chunks(&mut fields);
    }
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method.clone();
    *outgoing.uri_mut() = target(&permit, &path, &uri)?;
    *outgoing.headers_mut() = fields;
    let (response, lease) = upstream::send(worker, &permit, &session.pool_key, outgoing).await?;
    Ok(Forwarded { response, lease, route: permit.route().unwrap_or_default().to_owned() })
}

/// The canonical host; the caller's own value where it is canonical already.
fn host_value(canonical: &str, given: Option<HeaderValue>) -> Result<HeaderValue, Denial> {
    match given {
        Some(value) if value.as_bytes() == canonical.as_bytes() => Ok(value),
        _ => HeaderValue::from_str(canonical)
            .map_err(|_| Denial::new(Code::InvalidHost, "the host is no text")),
    }
}

/// The path of a target in origin or absolute form (RFC 9112 section 3.2).
fn path_of<'a>(uri: &'a Uri, method: &Method) -> Result<&'a str, Denial> {
    match uri.path() {
        "*" => Err(Denial::new(Code::AmbiguousPath, format!("{method} * names no path"))),
        path => Ok(path),
    }
}

/// In origin form: the permitted path, and the query as it came.
fn target(permit: &Permit<'_>, path: &Path<'_>, original: &Uri) -> Result<Uri, Denial> {
    debug_assert!(matches!(permit.request().ask, Ask::Http { path: permitted, .. } if permitted == path));
    let broken = |_| Denial::new(Code::AmbiguousPath, "the target cannot be written");
    let path_and_query = match original.path_and_query() {
        Some(unchanged) if path.is_unchanged() => unchanged.clone(),
        _ => {
            let text = match original.query() {
                Some(query) => format!("{}?{query}", path.as_str()),
                None => path.as_str().to_owned(),
            };
            PathAndQuery::try_from(text).map_err(broken)?
        }
    };
    Ok(Uri::from(path_and_query))
}

impl Session {
    fn refuse(&self, denial: &Denial, asked: Asked<'_>) -> Response<Vec<u8>> {
        let (peer, port) = (self.connection.peer, self.connection.target.port);
        self.worker.refuse(denial, peer, port, self.connection.party(), asked);
        if self.connection.routeless || ends_the_connection(denial.code) {
            self.connection.signal.give(Order::Finish);
        }
        problem::response(denial, asked.request_id.unwrap_or_default())
    }

    fn log_permit(&self, route: &str, status: u16, asked: Asked<'_>) {
        if let (true, Some(caller)) = (self.worker.access_log, &self.connection.caller) {
            let (peer, port) = (self.connection.peer, self.connection.target.port);
            log::permit(route, status, peer, port, caller, asked);
        }
    }
}

/// Whether nothing more is to be expected after a refusal, or nothing that follows can be believed.
const fn ends_the_connection(code: Code) -> bool {
    matches!(
        code,
        Code::NoPolicy
            | Code::PortClosed
            | Code::NoRoute
            | Code::InvalidFraming
            | Code::ConnectRefused
            | Code::UpgradeRefused
    )
}
