//! A route's host names and rules, as the policy has them. What the sidecar could not enforce is refused here, so
//! that one route never makes it refuse the whole bundle.

use postern_config::policy::{PathMatch, PathMatchKind, RequestMatch, Rule};
use postern_crds::api_route::{PathMatchType, RouteRule};
use postern_crds::{ApiRoute, ConditionType, Reason};

use crate::plan::Refusal;
use crate::settings::is_hostname_pattern;

/// The rules of a route, and its objections to them and to its host names.
pub fn resolve(route: &ApiRoute) -> (Vec<Rule>, Vec<Refusal>) {
    let refuse = |message: String| Refusal::new(ConditionType::Accepted, Reason::LockNotPossible, message);
    let hostnames = route.spec.hostnames.iter().filter(|name| !is_hostname_pattern(name)).map(|name| {
        refuse(format!(
            "hostnames has {name:?}, which is neither a DNS name in lower case nor `*.` and one: correct it"
        ))
    });
    let paths = paths(&route.spec.rules).filter_map(|path| {
        path_objection(path).map(|why| {
            refuse(format!(
                "rules has the path {path:?}, which {why}; no request would ever match it: correct it"
            ))
        })
    });
    let methods =
        route.spec.rules.iter().flat_map(|rule| &rule.matches).filter_map(|one| one.method.as_ref());
    let methods = methods.filter(|method| !is_token(method)).map(|method| {
        refuse(format!(
            "rules has the method {method:?}, which is no HTTP method: write one such as GET, in upper case"
        ))
    });
    let refusals = hostnames.chain(paths).chain(methods).collect();
    (route.spec.rules.iter().map(rule).collect(), refusals)
}

fn paths(rules: &[RouteRule]) -> impl Iterator<Item = &str> {
    rules
        .iter()
        .flat_map(|rule| &rule.matches)
        .filter_map(|one| one.path.as_ref())
        .map(|path| path.value.as_str())
}

fn rule(rule: &RouteRule) -> Rule {
    let matches = rule.matches.iter().map(|one| RequestMatch {
        path: one.path.as_ref().map(|path| PathMatch {
            kind: match path.type_ {
                PathMatchType::Exact => PathMatchKind::Exact,
                PathMatchType::PathPrefix => PathMatchKind::PathPrefix,
            },
            value: path.value.clone(),
        }),
        method: one.method.clone(),
    });
    Rule { name: rule.name.clone(), matches: matches.collect() }
}

/// What keeps a path from being canonical (SECURITY 21).
fn path_objection(path: &str) -> Option<&'static str> {
    // A server may cut parameters (`;x`) off before it looks for dots.
    let dotted = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if !path.starts_with('/') {
        Some("doesn't begin with `/`")
    } else if path.contains(['?', '#']) {
        Some("has a query or a fragment: a rule looks at the path alone")
    } else if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&b)) {
        Some("has a character that must be percent-encoded")
    } else if path.contains("//") || path.split('/').any(dotted) {
        Some("has an empty segment, `.` or `..`")
    } else {
        percent_objection(path)
    }
}

/// In a canonical path only what needs it is encoded, in upper-case digits, and nothing that could mean a slash,
/// a backslash, a fragment, a percent sign or NUL to somebody.
fn percent_objection(path: &str) -> Option<&'static str> {
    for part in path.split('%').skip(1) {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Some("has a percent sign without two hexadecimal digits");
        };
        if byte < 0x20 || matches!(byte, 0x7f | b'/' | b'\\' | b'#' | b'%') {
            return Some("has an encoded slash, backslash, `#`, percent sign or control character");
        }
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            return Some("encodes a character that needs no encoding");
        }
        if digits.is_some_and(|digits| digits.bytes().any(|b| b.is_ascii_lowercase())) {
            return Some("has lower-case hexadecimal digits after a percent sign: write them in upper case");
        }
    }
    None
}

/// RFC 9110 section 5.6.2, without lower case.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_paths_pass() {
        for (path, good) in [
            ("/", true),
            ("/orders", true),
            ("/orders/", true),
            ("/a%20b", true),
            ("/a;b=c/$x'(y)", true),
            ("/%C3%A9", true),
            ("orders", false),
            ("", false),
            ("/a b", false),
            ("/é", false),
            ("/a?b", false),
            ("/a#b", false),
            ("/a\\b", false),
            ("//", false),
            ("/a//b", false),
            ("/a/../b", false),
            ("/.", false),
            ("/a%2Fb", false),
            ("/a%2fb", false),
            ("/a%c3%a9", false),
            ("/a%5Cb", false),
            ("/a%25b", false),
            ("/a%00", false),
            ("/a%23b", false),
            ("/a/..;x/b", false),
            ("/a\"b", false),
            ("/a{b}", false),
            ("/%41", false),
            ("/%2E%2E", false),
            ("/a%", false),
            ("/a%4", false),
            ("/a%é", false),
        ] {
            assert_eq!(path_objection(path).is_none(), good, "{path:?}: {:?}", path_objection(path));
        }
    }
}
