//! W3C Trace Context (Recommendation of 2021-11-23): which trace a request belongs to, and what of it goes on.

use aws_lc_rs::rand;

use crate::fields::{Fields, Name, Names, Repeated};

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// Flag of a request whose trace is recorded by the caller.
const SAMPLED: u8 = 1;
/// List members of a `tracestate`.
const MEMBERS: usize = 32;
/// Bytes of a `tracestate` that are carried on.
const STATE_LENGTH: usize = 512;
/// All requests, in parts per million.
const ALL: u128 = 1_000_000;
/// The bits of a trace's id that are random: the last 56.
const RANDOM: u128 = (1 << 56) - 1;

/// The place of one request in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the names of the format")]
pub(crate) struct Trace {
    pub(crate) trace_id: [u8; 16],
    /// The caller's span, if it told one.
    pub(crate) parent: Option<[u8; 8]>,
    /// Ours. Meaningless unless [`Self::is_recorded`], or where nobody told a parent.
    pub(crate) span_id: [u8; 8],
    /// Whether the sidecar sends a span of its own.
    pub(crate) is_recorded: bool,
    flags: u8,
}

/// What a caller said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// Something that can't be read; it is dropped.
    Nonsense,
    Parent {
        trace_id: [u8; 16],
        span_id: [u8; 8],
        flags: u8,
    },
}

impl Trace {
    /// Of a request with these headers. `sampling_ppm`: share of requests without a recorded parent that the sidecar
    /// records, in parts per million; none if it records nothing. Nothing, if the request belongs to no trace and
    /// need not.
    pub(crate) fn of(fields: &Fields, sampling_ppm: Option<u32>) -> Option<Self> {
        match (said(fields), sampling_ppm) {
            (Said::Nothing, None) => None,
            (Said::Parent { trace_id, span_id, flags }, sampling) => {
                let is_recorded = sampling.is_some() && flags & SAMPLED != 0;
                let ours = if is_recorded { random() } else { span_id };
                Some(Self { trace_id, parent: Some(span_id), span_id: ours, is_recorded, flags })
            }
            (Said::Nothing | Said::Nonsense, sampling) => {
                let trace_id = random();
                let is_recorded = sampling.is_some_and(|ppm| is_sampled(&trace_id, ppm));
                let flags = if is_recorded { SAMPLED } else { 0 };
                Some(Self { trace_id, parent: None, span_id: random(), is_recorded, flags })
            }
        }
    }

    /// As it stands in a log line.
    pub(crate) fn id(&self) -> String {
        hex::encode(self.trace_id)
    }
}

/// What the application gets to see of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// What of the caller's does not go on.
    pub(crate) dropped: Names,
    /// Goes on in the place of the caller's `traceparent`.
    pub(crate) parent: Option<String>,
}

impl Carried {
    /// For a request with these fields.
    pub(crate) fn of(fields: &Fields, trace: Option<&Trace>) -> Self {
        let Some(trace) = trace else {
            return Self { dropped: Names::of(&[Name::Tracestate]), parent: None };
        };
        // What the caller said goes on as it is, unless a span of ours comes in between.
        let is_new = trace.parent.is_none() || trace.is_recorded;
        let parent =
            is_new.then(|| format!("00-{}-{}-{:02x}", trace.id(), hex::encode(trace.span_id), trace.flags));
        let has_state = trace.parent.is_some() && is_valid_state(fields);
        let dropped =
            Names::default().with_if(Name::Traceparent, is_new).with_if(Name::Tracestate, !has_state);
        Self { dropped, parent }
    }
}

fn said(fields: &Fields) -> Said {
    match fields.only(Name::Traceparent) {
        Ok(None) => Said::Nothing,
        Ok(Some(value)) => parse(value).unwrap_or(Said::Nonsense),
        Err(Repeated) => Said::Nonsense,
    }
}

/// `version-trace-parent-flags`. Later versions may have more behind it.
fn parse(value: &[u8]) -> Option<Said> {
    let (head, rest) = value.split_at_checked(LENGTH)?;
    let mut parts = head.split(|byte| *byte == b'-');
    let version: [u8; 1] = digits(parts.next()?)?;
    let trace_id: [u8; 16] = digits(parts.next()?)?;
    let span_id: [u8; 8] = digits(parts.next()?)?;
    let [flags]: [u8; 1] = digits(parts.next()?)?;
    let is_of_its_version = match version {
        [0] => rest.is_empty(),
        [0xff] => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let is_whole = parts.next().is_none() && is_of_its_version;
    (is_whole && trace_id != [0; 16] && span_id != [0; 8]).then_some(Said::Parent {
        trace_id,
        span_id,
        flags,
    })
}

/// Lower-case hex digits, exactly as many as fit.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

/// By the random part of the trace's id, so that everyone who samples by it decides alike.
fn is_sampled(trace_id: &[u8; 16], ppm: u32) -> bool {
    let low = u128::from_be_bytes(*trace_id) & RANDOM;
    (low * ALL) >> RANDOM.count_ones() < u128::from(ppm)
}

/// List members `key=value`, at most 32, in 512 bytes.
fn is_valid_state(fields: &Fields) -> bool {
    let (mut members, mut length) = (0, 0);
    for value in fields.values(Name::Tracestate) {
        length += value.len();
        for member in value.split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            members += 1;
            let mut halves = member.splitn(2, |byte| *byte == b'=');
            let (Some(key), Some(value)) = (halves.next(), halves.next()) else { return false };
            if !is_key(key) || !is_value(value) {
                return false;
            }
        }
    }
    members <= MEMBERS && length <= STATE_LENGTH
}

fn is_key(key: &[u8]) -> bool {
    let begins = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_known = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    begins && key.len() <= 256 && key.iter().all(is_known)
}

fn is_value(value: &[u8]) -> bool {
    let is_known = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'=';
    (1..=256).contains(&value.len()) && value.iter().all(is_known)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness the id would be none; a constant one is at least well formed.
    if rand::fill(&mut bytes).is_err() || bytes == [0; N] {
        bytes = [1; N];
    }
    bytes
}

#[cfg(test)]
mod tests;
