//! Hosts: one form, and the same once more.

use postern_sidecar::authorize::host::Host;

/// A host that is let through is canonical and matches itself alone.
pub fn check(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let Ok(host) = Host::parse(raw) else { return };
    let (text, name) = (host.as_str(), host.name());
    assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()), "{raw:?} {text:?}");
    assert!(!text.bytes().any(|byte| byte.is_ascii_uppercase()), "{raw:?} {text:?}");
    assert!(!text.contains(['/', '\\', '?', '#', '@', ',', '%', '*']), "{raw:?} {text:?}");
    assert!(text.starts_with(name) && !name.ends_with('.'), "{text:?} {name:?}");
    let port = &text[name.len()..];
    let is_port = |port: &str| port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    assert!(port.is_empty() || is_port(port), "{text:?}");
    let again = Host::parse(text).unwrap_or_else(|denial| panic!("{raw:?} {text:?}: {denial}"));
    assert_eq!((again.as_str(), again.name()), (text, name), "{raw:?}");
    assert!(host.matches(name), "{text:?}");
    assert!(!host.matches(&format!("x{name}")) && !host.matches(&format!("*.{name}")), "{text:?}");
    if let Some((_, suffix)) = name.split_once('.').filter(|_| !name.starts_with('[')) {
        assert!(host.matches(&format!("*.{suffix}")), "{text:?}");
    }
}
