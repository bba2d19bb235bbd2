//! One request: judge, rewrite, send, answer.

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::{Body as _, Incoming};

use super::body::{Answer, InFlight, Outbound};
use super::headers::{self, Identity};
use super::pool::{Key, Lease};
use super::problem::{self, Wanted};
use super::wire::Turns;
use super::{framing, upstream};
use crate::authorize::path::Path;
use crate::authorize::{self, Ask, Code, Denial, Permit, Proof, authorize};
use crate::connection::Connection;
use crate::generation::Generation;
use crate::observe::request::Record;
use crate::present;
use crate::signal::Order;
use crate::worker::Worker;

/// What the requests of one connection share.
pub(super) struct Session {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Rc<Connection>,
    pub(super) identity: Identity,
    pub(super) pool_key: Key,
    pub(super) turns: Rc<Turns>,
}

/// A permitted request's answer.
struct Forwarded {
    response: Response<Incoming>,
    lease: Lease,
}

/// Answers one request.
pub(super) async fn answer(session: Rc<Session>, mut request: Request<Incoming>) -> Response<Answer> {
    let mut in_flight = InFlight::start(&session.connection);
    let turn = session.turns.begin();
    let wanted = Wanted::by(&request);
    if let Some(refused) = turn.refused() {
        refused.describe(&mut request);
    }
    let request_id = headers::request_id(request.headers());
    let record = Record::start(&session.worker, &session.connection, &request, &request_id);
    in_flight.observe(&record);

    let outcome = match turn.refused() {
        Some(refused) => Err(refused.denial),
        None => forward(&session, request, &request_id, &record).await,
    };
    // What was found wrong with the body since is what broke the rest.
    let outcome = turn.refused().map_or(outcome, |refused| Err(refused.denial));
    let response = match outcome {
        Ok(Forwarded { response, lease }) => {
            if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
                turn.tunnel();
            }
            let (mut parts, body) = response.into_parts();
            parts.version = Version::HTTP_11;
            headers::to_caller(&mut parts.headers);
            Response::from_parts(parts, Answer::application(body, lease, in_flight))
        }
        Err(denial) => {
            record.refused(&denial);
            session.finish_after(denial.code);
            problem::response(&denial, &request_id, wanted)
                .map(|document| Answer::problem(document, in_flight))
        }
    };
    record.answered(response.status().as_u16());
    response
}

/// Judges and sends. What is matched (host, path) is what is forwarded: both come out of the permit.
async fn forward(
    session: &Session,
    request: Request<Incoming>,
    request_id: &HeaderValue,
    record: &Record,
) -> Result<Forwarded, Denial> {
    let worker = &session.worker;
    let (parts, body) = request.into_parts();
    let Parts { method, uri, version, headers: mut fields, .. } = parts;
    framing::check(&method, &uri, version, &fields, &worker.limits())?;

    let host_field = fields.get(http::header::HOST).cloned();
    let host = framing::host(&uri, &fields)?;
    let host = host_value(host.as_str(), host_field)?;
    let host_text = host.to_str().map_err(|_| Denial::new(Code::InvalidHost, "the host is no text"))?;
    let host_name = authorize::host::Host::parse(host_text)?;
    let path = Path::parse(path_of(&uri, &method)?)?;

    let (generation, proofs) = session.prove(&fields).await?;
    let ask = Ask::Http { method: &method, host: &host_name, path: &path };
    let standing = session.connection.standing(&generation);
    let shown = session.connection.shown(&standing, &proofs);
    let request = authorize::Request { port: session.connection.target.port, shown, ask };
    let permit = authorize(&generation.gate.policy, &request)?;
    record.permitted(&permit);
    session.connection.admitted(worker, &generation, &permit);
    if let Some(denial) = permit.would_deny() {
        record.spared(denial);
    }

    headers::strip_keys(&mut fields, &generation, request.port);
    let told = permit.forwarded_certificate();
    headers::to_application(&mut fields, host.clone(), request_id, &session.identity, told);
    record.carry_on(&mut fields);
    let body = if body.is_end_stream() { Outbound::Empty } else { Outbound::Caller(body) };
    if body.size_hint().exact().is_none() {
        headers::send_in_chunks(&mut fields);
    }
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method.clone();
    *outgoing.uri_mut() = target(&permit, &path, &uri)?;
    *outgoing.headers_mut() = fields;
    let key = session.key(&permit);
    let answer = upstream::send(worker, &permit, &key, outgoing);
    let (response, lease) = record.waiting(answer).await?;
    Ok(Forwarded { response, lease })
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
    /// What the request shows beside the certificate, under the configuration in force.
    async fn prove(&self, fields: &HeaderMap) -> Result<(Arc<Generation>, Vec<Proof>), Denial> {
        let (worker, port) = (&self.worker, self.connection.target.port);
        loop {
            let generation = worker
                .generation()
                .ok_or_else(|| Denial::new(Code::NoPolicy, "no valid policy is loaded"))?;
            let Some(locked) = generation.gate.policy.locked(port) else {
                return Ok((generation, Vec::new()));
            };
            let proofs = present::proofs(&worker.checker, locked, fields, self.connection.peer.ip()).await;
            // What was checked by a configuration that is over by now counts for nothing.
            if worker.enforces(&generation) {
                return if self.connection.signal.order() == Order::Stop {
                    Err(authorize::closed(port))
                } else {
                    Ok((generation, proofs))
                };
            }
        }
    }

    /// Where connections for this caller lie.
    fn key(&self, permit: &Permit<'_>) -> Key {
        match permit.principal() {
            None => self.pool_key.clone(),
            Some(principal) => {
                let caller = format!("{}\0{principal}", self.pool_key.caller).into();
                Key { caller, ..self.pool_key.clone() }
            }
        }
    }

    fn finish_after(&self, code: Code) {
        if self.connection.routeless.get() || ends_the_connection(code) {
            self.connection.signal.give(Order::Finish);
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
