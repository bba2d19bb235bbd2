//! The headers by which a gateway opens a door.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::inputs::{Credentials, SecretText};
use crate::plan::{BasicSource, Door};
use crate::render::nginx::Headers;

/// Whether the configuration for this door holds a secret value, now or once there is one.
pub(super) fn holds_secret(door: &Door) -> bool {
    !names(door).is_empty()
}

/// The headers with their values.
pub(super) fn secret(door: &Door, held: Option<&Credentials>) -> Headers {
    headers(door, |of| match of {
        Of::Basic => {
            let basic = held.and_then(|held| held.basic.as_ref())?;
            let pair = SecretText::new(format!("{}:{}", basic.username, basic.password.expose()));
            Some(format!("Basic {}", STANDARD.encode(pair.expose())))
        }
        Of::Header => Some(held?.header.as_ref()?.value.expose().to_owned()),
    })
}

/// The headers with nothing secret in them, for a hash of the configuration that may be shown.
pub(super) fn shown(door: &Door, held: Option<&Credentials>) -> Headers {
    headers(door, |of| {
        let held = held?;
        let there = match of {
            Of::Basic => held.basic.is_some(),
            Of::Header => held.header.is_some(),
        };
        there.then(|| format!("revision {}", held.revision))
    })
}

#[derive(Clone, Copy)]
enum Of {
    Basic,
    Header,
}

fn headers(door: &Door, value: impl Fn(Of) -> Option<String>) -> Headers {
    let with_value = |(of, name)| (name, SecretText::new(value(of).unwrap_or_default()));
    Headers(names(door).into_iter().map(with_value).collect())
}

/// Users' own credentials pass through, so a gateway sets none for them.
fn names(door: &Door) -> Vec<(Of, String)> {
    let basic = door.basic().filter(|basic| !matches!(basic.source, BasicSource::Users { .. }));
    let basic = basic.map(|basic| (Of::Basic, basic.header_name.clone()));
    let header = door.header().map(|header| (Of::Header, header.name.clone()));
    basic.into_iter().chain(header).collect()
}
