//! May this caller do this? A pure function of the policy and the request: no I/O, no clock.
//!
//! Success yields a [`Permit`], which nothing else can make and without which nothing is forwarded.
//!
//! * [`compile`] makes a [`policy`] of what is written, [`door`] is what stands before one port.
//! * [`locks`] says for which callers a door opens, their routes what they may ask for.
//! * A [`Ground`] is what a permit rests on, to be judged anew when the policy changes.

pub mod compile;
pub mod denial;
pub mod door;
pub mod host;
mod keys;
pub mod locks;
pub mod path;
mod permit;
pub mod policy;
mod route;

pub use self::denial::{Code, Denial};
use self::door::{Door, Holder, Locked};
use self::host::Host;
pub use self::locks::{Certificate, Proof, Shown, Standing};
use self::path::Path;
use self::permit::Granted;
pub use self::permit::{Ground, Permit};
use self::policy::Policy;
use http::Method;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// A connection whose bytes are passed on.
    Connection,
    /// One HTTP request.
    Http {
        /// Its method.
        method: &'a Method,
        /// The host that it names.
        host: &'a Host<'a>,
        /// Its path.
        path: &'a Path<'a>,
    },
    /// One HTTP request whose path can be read in more than one way: see the denial. No rule can say yes to it.
    Unclear(&'a Denial),
}

/// One request for admission.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The application's port.
    pub port: u16,
    /// What is shown of who asks.
    pub shown: Shown<'a>,
    /// For what.
    pub ask: Ask<'a>,
}

/// Decides on one request.
///
/// # Errors
/// The [`Denial`], from the nearest miss: a rule before a host before a route before a lock. Where denials are not
/// carried out there is a permit in any case, which tells of it.
pub fn authorize<'a>(policy: &'a Policy, request: &Request<'a>) -> Result<Permit<'a>, Denial> {
    let permit = |granted, would_deny| Ok(Permit { request: *request, granted, would_deny });
    let port = request.port;
    match (policy.door(port), &request.ask) {
        (None, _) => Err(closed(port)),
        (Some(Door::Open), Ask::Connection) => permit(None, None),
        (Some(Door::Open), Ask::Http { .. } | Ask::Unclear(_)) => {
            Err(Denial::new(Code::PortClosed, format!("port {port} has no lock, so it judges no requests")))
        }
        (Some(Door::Paths(_)), Ask::Connection) => {
            Err(Denial::new(Code::PortClosed, format!("port {port} is open for some paths alone")))
        }
        (Some(Door::Paths(_)), Ask::Http { method, path, .. }) => {
            if (*method == Method::GET || *method == Method::HEAD) && policy.is_open(port, path.as_str()) {
                return permit(None, None);
            }
            let reason = format!("{method} {} is not open on port {port}", clip(path.as_str()));
            Err(Denial::new(Code::PathNotOpen, reason))
        }
        (Some(Door::Paths(_)), Ask::Unclear(denial)) => Err((*denial).clone()),
        (Some(Door::Locked(_)), ask) => {
            let locked = policy.locked(port).ok_or_else(|| closed(port))?;
            let judged = match (ask, locked.would_not_connect(&request.shown)) {
                (_, Some(denial)) => Err(denial),
                (Ask::Unclear(denial), None) => Err((*denial).clone()),
                (Ask::Connection | Ask::Http { .. }, None) => judge(locked, request),
            };
            match judged {
                Ok(holder) => permit(Some(Granted { locked, holder }), None),
                Err(denial) if locked.spares(denial.code) => permit(None, Some(denial)),
                Err(denial) => Err(denial),
            }
        }
    }
}

/// The refusal of a port that the policy does not list.
pub fn closed(port: u16) -> Denial {
    Denial::new(Code::PortClosed, format!("port {port} is not one that may be called"))
}

/// The number of the caller that a request is found to come from.
fn judge(locked: &Locked, request: &Request<'_>) -> Result<u32, Denial> {
    let (mut opened, mut host_allowed) = (false, false);
    let all = 0..u32::try_from(locked.holders.len()).unwrap_or(u32::MAX);
    // Mostly there is one whose certificate it is, and only that one can be let in.
    let own = locked.demands_own().then(|| request.shown.certificate.map_or(&[][..], |it| &it.standing.own));
    let rest = if own.is_some() { 0..0 } else { all };
    for number in own.into_iter().flatten().copied().chain(rest) {
        if !locked.opens_for(number, &request.shown) {
            continue;
        }
        let Some(holder) = locked.holder(number) else { continue };
        opened = true;
        let Ask::Http { method, host, path } = request.ask else { return Ok(number) };
        if holder.route.allows_host(host) {
            host_allowed = true;
            if holder.route.allows(method, path) {
                return Ok(number);
            }
        }
    }
    Err(if opened { denied(request, host_allowed) } else { locked.miss(request.port, &request.shown) })
}

fn denied(request: &Request<'_>, host_allowed: bool) -> Denial {
    let port = request.port;
    let who = request.shown.certificate.map_or("this caller", |certificate| certificate.identity);
    match request.ask {
        Ask::Http { method, path, .. } if host_allowed => Denial::new(
            Code::NoRuleMatches,
            format!("no rule allows {who} to {method} {} on port {port}", clip(path.as_str())),
        ),
        Ask::Http { host, .. } => Denial::new(
            Code::HostNotAllowed,
            format!("{who} may not ask for host {} on port {port}", clip(host.name())),
        ),
        Ask::Connection | Ask::Unclear(_) => {
            Denial::new(Code::NoRoute, format!("no route lets {who} call port {port}"))
        }
    }
}

impl Locked {
    fn holder(&self, number: u32) -> Option<&Holder> {
        self.holders.get(usize::try_from(number).ok()?)
    }
}

/// Enough of a caller's text for a log line.
fn clip(text: &str) -> &str {
    crate::text::clip(text, 200)
}

#[cfg(test)]
mod tests;
