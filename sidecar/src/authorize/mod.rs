//! May this caller do this? A pure function of the policy and the request: no I/O, no clock.
//!
//! Success yields a [`Permit`], which nothing else can make and without which nothing is forwarded.

pub mod denial;
pub mod host;
pub mod path;
pub mod policy;

use http::Method;

pub use self::denial::{Code, Denial};
use self::host::Host;
use self::path::Path;
use self::policy::{Door, KeyHash, Match, Policy};

/// What the stages before know of who calls.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Name of the authority that vouches for the identity.
    pub authority: &'a str,
    /// The URI in the certificate.
    pub identity: &'a str,
    /// The key that was shown to be held.
    pub key: &'a KeyHash,
}

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
}

/// One request for admission.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The application's port.
    pub port: u16,
    /// Who asks; `None` if nobody identified themselves.
    pub who: Option<Who<'a>>,
    /// For what.
    pub ask: Ask<'a>,
}

/// Leave to forward exactly what was asked for. Only [`authorize`] makes one.
#[derive(Debug)]
pub struct Permit<'a> {
    request: Request<'a>,
    route: Option<&'a str>,
}

impl<'a> Permit<'a> {
    /// What it is a permit for.
    pub fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// The route that gives it; none on an open port.
    pub fn route(&self) -> Option<&'a str> {
        self.route
    }
}

/// Decides on one request.
///
/// # Errors
/// The [`Denial`], from the nearest miss: a rule before a host before a route.
pub fn authorize<'a>(policy: &'a Policy, request: &Request<'a>) -> Result<Permit<'a>, Denial> {
    let permit = |route| Ok(Permit { request: *request, route });
    match (policy.door(request.port), &request.ask) {
        (None, _) => Err(closed(request.port)),
        (Some(Door::Open), Ask::Connection) => permit(None),
        (Some(Door::Open), Ask::Http { .. }) => Err(Denial::new(
            Code::PortClosed,
            format!("port {} has no lock, so it judges no requests", request.port),
        )),
        (Some(Door::Locked(_)), _) => {
            let who = request.who.ok_or_else(|| Denial::new(Code::NoCertificate, "nobody is identified"))?;
            by_route(policy, request, &who).and_then(|route| permit(Some(route)))
        }
    }
}

/// Whether a caller has any route to a port, whatever may be asked for there.
pub fn has_route(policy: &Policy, port: u16, who: &Who<'_>) -> bool {
    matches!(policy.door(port), Some(Door::Locked(_))) && grants(policy, port, who).next().is_some()
}

/// Whether something that a caller was allowed to ask of a port `before` may be denied `now`. Where it can't be
/// told easily the answer is yes.
pub fn is_narrowed(before: &Policy, now: &Policy, port: u16, who: &Who<'_>) -> bool {
    grants(before, port, who).any(|old| !grants(now, port, who).any(|new| new.covers(old)))
}

/// The refusal of a port that the policy does not list.
pub fn closed(port: u16) -> Denial {
    Denial::new(Code::PortClosed, format!("port {port} is not one that may be called"))
}

fn grants<'a>(policy: &'a Policy, port: u16, who: &Who<'_>) -> impl Iterator<Item = &'a policy::Route> {
    let key = *who.key;
    policy
        .grants_of(who.authority, who.identity)
        .filter(move |grant| grant.port == port && grant.allows_key(&key))
        .map(|grant| &*grant.route)
}

fn by_route<'a>(policy: &'a Policy, request: &Request<'_>, who: &Who<'_>) -> Result<&'a str, Denial> {
    let (mut known, mut host_allowed) = (false, false);
    for route in grants(policy, request.port, who) {
        known = true;
        let Ask::Http { method, host, path } = request.ask else { return Ok(&route.name) };
        if !route.hostnames.is_empty() && !route.hostnames.iter().any(|pattern| host.matches(pattern)) {
            continue;
        }
        host_allowed = true;
        let holds = |entry: &Match| {
            entry.method.as_ref().is_none_or(|allowed| method.as_str() == &**allowed)
                && entry.path.as_ref().is_none_or(|rule| rule.matches(path))
        };
        if route.matches.as_ref().is_none_or(|matches| matches.iter().any(holds)) {
            return Ok(&route.name);
        }
    }
    Err(denied(request, who, known, host_allowed))
}

fn denied(request: &Request<'_>, who: &Who<'_>, known: bool, host_allowed: bool) -> Denial {
    let (identity, port) = (who.identity, request.port);
    match request.ask {
        Ask::Http { method, path, .. } if host_allowed => Denial::new(
            Code::NoRuleMatches,
            format!("no rule allows {identity} to {method} {} on port {port}", clip(path.as_str())),
        ),
        Ask::Http { host, .. } if known => Denial::new(
            Code::HostNotAllowed,
            format!("{identity} may not ask for host {} on port {port}", clip(host.name())),
        ),
        _ => Denial::new(Code::NoRoute, format!("no route lets {identity} call port {port}")),
    }
}

/// Enough of a caller's text for a log line.
fn clip(text: &str) -> &str {
    crate::text::clip(text, 200)
}

#[cfg(test)]
mod tests;
