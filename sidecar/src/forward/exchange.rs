//! One request: judge, rewrite, send, answer.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::Body as _;
use postern_config::policy::Protocol;

use super::body::{Answer, CallerBody, InFlight, Outbound};
use super::framing;
use super::headers::{self, Identity};
use super::pool::{Key, Place};
use super::problem::{self, Wanted};
use super::tunnel::{Stream, Tunnel};
use super::upgrade::{self, Wish};
use super::upstream::{self, Patience, Received};
use super::websocket::{self, Said};
use crate::authorize::door::Door;
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
    /// By certificate or by address.
    pub(super) whose: Rc<str>,
    /// Where connections for the last permit's holder lie: mostly for the next one's too.
    pub(super) place: RefCell<Option<Rc<Place>>>,
}

/// A permitted request's answer.
enum Forwarded {
    Answer(Response<Received>),
    /// A head, the application's end, and what the caller sends.
    Tunnel(Response<()>, Box<dyn Stream>, CallerBody),
}

/// A request while it is answered.
struct Turn {
    in_flight: InFlight,
    wanted: Wanted,
    request_id: HeaderValue,
    record: Rc<Record>,
}

impl Turn {
    fn begin<B>(session: &Session, request: &Request<B>) -> Self {
        let mut in_flight = InFlight::start(&session.connection);
        let request_id = headers::request_id(request.headers());
        let record = Record::start(&session.worker, &session.connection, request, &request_id);
        in_flight.observe(&record);
        Self { in_flight, wanted: Wanted::by(request), request_id, record }
    }

    fn refuse(self, session: &Session, denial: &Denial) -> Response<Answer> {
        self.record.refused(denial);
        session.finish_after(denial.code);
        let response = problem::response(denial, &self.request_id, self.wanted);
        self.record.answered(response.status().as_u16());
        response.map(|document| Answer::problem(document, self.in_flight))
    }

    fn end(self, session: &Session, answer: Forwarded) -> Response<Answer> {
        let Self { in_flight, record, .. } = self;
        let response = match answer {
            Forwarded::Answer(response) => response.map(|body| Answer::application(body, in_flight)),
            Forwarded::Tunnel(head, application, caller) => {
                let tunnel = Tunnel::new(&session.worker, application, in_flight);
                head.map(|()| Answer::tunnel(tunnel, caller))
            }
        };
        record.answered(response.status().as_u16());
        response
    }
}

/// Answers one request.
pub(super) async fn answer(session: Rc<Session>, request: Request<CallerBody>) -> Response<Answer> {
    let turn = Turn::begin(&session, &request);
    let faults = request.body().faults();
    let outcome = forward(&session, request, &turn.request_id, &turn.record).await;
    // What was found wrong with the body since is what broke the rest.
    let outcome = match faults.and_then(|faults| faults.take()) {
        Some(denial) => Err(denial),
        None => outcome,
    };
    match outcome {
        Ok(answer) => turn.end(&session, answer),
        Err(denial) => turn.refuse(&session, &denial),
    }
}

/// Answers a request that was refused before it could be read; `request` stands for it.
pub(super) fn refuse(session: &Session, request: &Request<()>, denial: &Denial) -> Response<Answer> {
    Turn::begin(session, request).refuse(session, denial)
}

/// Judges and sends. What is matched (host, path) is what is forwarded: both come out of the permit.
async fn forward(
    session: &Session,
    request: Request<CallerBody>,
    request_id: &HeaderValue,
    record: &Record,
) -> Result<Forwarded, Denial> {
    let worker = &session.worker;
    if request.version() == Version::HTTP_2 {
        framing::check_http2(request.uri(), request.headers(), &worker.limits())?;
    }
    let wish = upgrade::wish(&request)?;
    let (parts, body) = request.into_parts();
    let Parts { method, uri, headers: mut fields, .. } = parts;
    // What is GET over HTTP/1.1 is the same thing for rules and for the application.
    let method = if wish == Some(Wish::Connect) { Method::GET } else { method };

    let host_field = fields.get(http::header::HOST).cloned();
    let named = framing::host(&uri, &fields)?;
    let host = host_value(named.as_str(), host_field)?;
    let host_text = host.to_str().map_err(|_| Denial::new(Code::InvalidHost, "the host is no text"))?;
    let same = named.in_text(host_text);
    let host_name = same.ok_or_else(|| Denial::new(Code::InvalidHost, "the host has two forms"))?;
    let path = path_of(&uri, &method).and_then(Path::parse);
    if let Err(denial) = &path
        && !session.spares(denial.code)
    {
        return Err(denial.clone());
    }

    let (generation, proofs) = session.prove(&fields).await?;
    let ask = match &path {
        Ok(path) => Ask::Http { method: &method, host: &host_name, path },
        Err(denial) => Ask::Unclear(denial),
    };
    let standing = session.connection.standing(&generation);
    let shown = session.connection.shown(&standing, &proofs);
    let request = authorize::Request { port: session.connection.target.port, shown, ask };
    let permit = authorize(&generation.gate.policy, &request)?;
    record.permitted(&permit);
    session.connection.admitted(worker, &generation, &permit);
    if let Some(denial) = permit.would_deny() {
        record.spared(denial);
    }

    let place = session.place(&permit, generation.gate.policy.door(session.connection.target.port));

    let mut patience = Patience::new(worker, &session.connection, &fields);
    headers::strip_keys(&mut fields, &generation, request.port);
    let told = permit.forwarded_certificate();
    headers::to_application(&mut fields, host.clone(), request_id, &session.identity, told);
    record.carry_on(&mut fields);
    let mut outgoing = Request::new(Outbound::Empty);
    *outgoing.method_mut() = method.clone();
    *outgoing.uri_mut() = target(&permit, path.as_ref().ok(), &uri)?;
    *outgoing.headers_mut() = fields;
    if let Some(wish) = wish {
        // What follows the head is the tunnel's. The request is boxed, since few are of this kind and all would be as large.
        let waiting = record.waits();
        let answer = Box::pin(websocket::ask(session, &permit, &place, &patience, wish, outgoing)).await;
        drop(waiting);
        return Ok(match answer? {
            Said::Yes(head, application) => Forwarded::Tunnel(head, application, body),
            Said::No(response) => Forwarded::Answer(response),
        });
    }
    if !body.is_end_stream() {
        let (body, sent) = Outbound::caller(body, Arc::clone(&generation), request.port);
        record.receives(Rc::clone(&sent));
        patience.watch(sent);
        *outgoing.body_mut() = body;
    }
    let waiting = record.waits();
    let answer = upstream::send(session, &permit, &place, &patience, outgoing).await;
    drop(waiting);
    let mut response = answer?;
    headers::to_caller(response.headers_mut());
    Ok(Forwarded::Answer(response))
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

/// In origin form: the permitted path, and the query as it came. Where no path has been judged, all of it as it came.
fn target(permit: &Permit<'_>, path: Option<&Path<'_>>, original: &Uri) -> Result<Uri, Denial> {
    debug_assert!(match permit.request().ask {
        Ask::Http { path: permitted, .. } => path == Some(permitted),
        Ask::Unclear(_) | Ask::Connection => path.is_none(),
    });
    let broken = |_| Denial::new(Code::AmbiguousPath, "the target cannot be written");
    let path_and_query = match (original.path_and_query(), path) {
        (Some(unchanged), None) => unchanged.clone(),
        (Some(unchanged), Some(path)) if path.is_unchanged() => unchanged.clone(),
        (None, None) => return Err(Denial::new(Code::AmbiguousPath, "the target holds no path")),
        (_, Some(path)) => {
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

    /// Where connections for this caller lie, by what the application speaks now.
    fn place(&self, permit: &Permit<'_>, door: Option<Door>) -> Rc<Place> {
        let protocol = match door {
            Some(Door::Locked(protocol) | Door::Paths(protocol)) => protocol,
            Some(Door::Open) | None => Protocol::HTTP,
        };
        let principal = permit.principal().unwrap_or_default();
        let mut last = self.place.borrow_mut();
        if let Some(place) = &*last
            && place.key.protocol == protocol
            && *place.key.holder == *principal
        {
            return Rc::clone(place);
        }
        let place = self.worker.pool.place(Key {
            address: self.connection.target.address,
            protocol,
            whose: Rc::clone(&self.whose),
            holder: principal.into(),
        });
        *last = Some(Rc::clone(&place));
        place
    }

    /// Whether a request goes through although it is denied with this code, as things stand.
    fn spares(&self, code: Code) -> bool {
        let generation = self.worker.generation();
        let locked = generation.as_ref().and_then(|it| it.gate.policy.locked(self.connection.target.port));
        locked.is_some_and(|locked| locked.spares(code))
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
