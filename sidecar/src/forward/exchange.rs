//! One request: judge, rewrite, send, answer.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{Method, Version};
use hyper::body::Body as _;
use postern_config::policy::Protocol;

use super::body::{Answer, CallerBody, InFlight, Outbound};
use super::framing;
use super::headers::{self, Identity, Keys, RequestId, ToApplication};
use super::message::{Answered, RequestHead};
use super::pool::{Key, Place};
use super::problem::{self, Wanted};
use super::tunnel::{Stream, Tunnel};
use super::upgrade::{self, Wish};
use super::upstream::{self, Outgoing, Patience, Received};
use super::websocket::{self, Said};
use crate::authorize::door::Door;
use crate::authorize::path::Path;
use crate::authorize::{self, Ask, Code, Denial, Permit, Proof, authorize};
use crate::connection::Connection;
use crate::fields::Fields;
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
    Answer(Answered<Received>),
    /// A head, the application's end, and what the caller sends.
    Tunnel(Answered<()>, Box<dyn Stream>, CallerBody),
}

/// A request while it is answered.
struct Turn<'a> {
    head: &'a RequestHead,
    in_flight: InFlight,
    wanted: Wanted,
    request_id: RequestId<'a>,
    record: Rc<Record>,
}

impl<'a> Turn<'a> {
    fn begin(session: &Session, head: &'a RequestHead) -> Self {
        let mut in_flight = InFlight::start(&session.connection);
        let request_id = headers::request_id(&head.fields);
        let record = Record::start(&session.worker, &session.connection, head, || request_id.as_str());
        in_flight.observe(&record);
        Self { head, in_flight, wanted: Wanted::by(head), request_id, record }
    }

    fn refuse(self, session: &Session, denial: &Denial) -> Answered<Answer> {
        let id = self.request_id.as_str();
        self.record.refused(denial, self.head, id);
        session.finish_after(denial.code);
        let response = problem::response(denial, id, self.wanted);
        self.record.answered(response.status.as_u16());
        response.map(|document| Answer::problem(document, self.in_flight))
    }

    fn end(self, session: &Session, answer: Forwarded) -> Answered<Answer> {
        let Self { in_flight, record, .. } = self;
        let response = match answer {
            Forwarded::Answer(response) => response.map(|body| Answer::application(body, in_flight)),
            Forwarded::Tunnel(head, application, caller) => {
                let tunnel = Tunnel::new(&session.worker, application, in_flight);
                head.map(|()| Answer::tunnel(tunnel, caller))
            }
        };
        record.answered(response.status.as_u16());
        response
    }
}

/// Answers one request.
pub(super) async fn answer(session: Rc<Session>, head: RequestHead, body: CallerBody) -> Answered<Answer> {
    let turn = Turn::begin(&session, &head);
    let faults = body.faults();
    let outcome = forward(&session, &turn, body).await;
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

/// Answers a request that was refused before it could be read; `head` stands for its own.
pub(super) fn refuse(session: &Session, head: &RequestHead, denial: &Denial) -> Answered<Answer> {
    Turn::begin(session, head).refuse(session, denial)
}

/// Judges and sends. What is matched (host, path) is what is forwarded: both come out of the permit.
async fn forward(session: &Session, turn: &Turn<'_>, body: CallerBody) -> Result<Forwarded, Denial> {
    let (worker, head, record) = (&session.worker, turn.head, &turn.record);
    if head.version == Version::HTTP_2 {
        framing::check_http2(head, &worker.limits())?;
    }
    let wish = upgrade::wish(head)?;
    // What is GET over HTTP/1.1 is the same thing for rules and for the application.
    let method = if wish == Some(Wish::Connect) { &Method::GET } else { &head.method };

    let host = framing::host(head)?;
    let path = path_of(head).and_then(Path::parse);
    if let Err(denial) = &path
        && !session.spares(denial.code)
    {
        return Err(denial.clone());
    }

    let (generation, proofs) = session.prove(&head.fields).await?;
    let ask = match &path {
        Ok(path) => Ask::Http { method, host: &host, path },
        Err(denial) => Ask::Unclear(denial),
    };
    let standing = session.connection.standing(&generation);
    let shown = session.connection.shown(&standing, &proofs);
    let request = authorize::Request { port: session.connection.target.port, shown, ask };
    let permit = authorize(&generation.gate.policy, &request)?;
    record.permitted(&permit);
    session.connection.admitted(worker, &generation, &permit);
    if let Some(denial) = permit.would_deny() {
        record.spared(denial, head, turn.request_id.as_str());
    }

    let place = session.place(&permit, generation.gate.policy.door(session.connection.target.port));

    let mut patience = Patience::new(worker, &session.connection, &head.fields);
    let fields = ToApplication::new(
        &head.fields,
        headers::Said {
            host: host.as_str(),
            request_id: turn.request_id.as_bytes(),
            who: &session.identity,
            told: permit.forwarded_certificate(),
            trace: record.carried(head),
            keys: Keys::of(&generation, request.port),
        },
    );
    let outgoing = Outgoing {
        method,
        path: target(&permit, path.as_ref().ok(), head),
        query: head.query(),
        fields: &fields,
    };
    if let Some(wish) = wish {
        // What follows the head is the tunnel's. The request is boxed, since few are of this kind and all would be as large.
        let waiting = record.waits();
        let answer = Box::pin(websocket::ask(session, &permit, &place, &patience, wish, &outgoing)).await;
        drop(waiting);
        return Ok(match answer? {
            Said::Yes(head, application) => Forwarded::Tunnel(head, application, body),
            Said::No(response) => Forwarded::Answer(response),
        });
    }
    let mut outbound = Outbound::Empty;
    if !body.is_end_stream() {
        let (body, sent) = Outbound::caller(body, Arc::clone(&generation), request.port);
        record.receives(Rc::clone(&sent));
        patience.watch(sent);
        outbound = body;
    }
    let waiting = record.waits();
    let answer =
        upstream::send(session, &permit, &place, &patience, &outgoing, outbound, waiting.since()).await;
    drop(waiting);
    let mut response = answer?;
    headers::to_caller(&mut response.fields);
    Ok(Forwarded::Answer(response))
}

/// The path of a target in origin or absolute form (RFC 9112 section 3.2).
fn path_of(head: &RequestHead) -> Result<&str, Denial> {
    match head.path() {
        "*" => Err(Denial::new(Code::AmbiguousPath, format!("{} * names no path", head.method))),
        path => Ok(path),
    }
}

/// The permitted path. Where none has been judged, it is as it came.
fn target<'a>(permit: &Permit<'_>, path: Option<&'a Path<'_>>, head: &'a RequestHead) -> &'a str {
    debug_assert!(match permit.request().ask {
        Ask::Http { path: permitted, .. } => path == Some(permitted),
        Ask::Unclear(_) | Ask::Connection => path.is_none(),
    });
    path.map_or_else(|| head.path(), Path::as_str)
}

impl Session {
    /// What the request shows beside the certificate, under the configuration in force.
    async fn prove(&self, fields: &Fields) -> Result<(Arc<Generation>, Vec<Proof>), Denial> {
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
