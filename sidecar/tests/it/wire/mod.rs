//! What comes over the wire, by its bytes.
//!
//! Each rule, and the tests that send what breaks it:
//!
//! | rule | HTTP/1.1 | HTTP/2 |
//! | --- | --- | --- |
//! | headers of the hop, and those that Connection names, go first | `headers_of_the_hop_go_first` | `malformed_requests_reset_their_stream_and_are_told_of` |
//! | nobody else writes who calls, in whatever spelling | `nobody_else_writes_who_calls` | `nobody_else_writes_who_calls` |
//! | trailers carry neither framing nor routing nor identity | `trailers_carry_neither_framing_nor_routing_nor_identity` | `trailers_over_http2_carry_no_more` |
//! | one path, one host: what is judged is what is forwarded | `the_path_that_is_judged_is_the_path_that_is_forwarded`, `one_host_in_one_form_is_judged_and_forwarded` | `what_the_engine_lets_through_is_judged_like_any_request` |
//! | the name in the handshake decides nothing | `the_name_in_the_handshake_opens_nothing_and_closes_nothing` | `the_name_in_the_handshake_opens_nothing_and_closes_nothing` |
//! | lengths and codings that contradict each other; folding, a space before a colon, NUL, bare CR and LF; two hosts | `every_refused_head_has_its_answer_its_line_and_its_count_and_ends_the_connection` | `malformed_requests_reset_their_stream_and_are_told_of`, `a_body_is_as_long_as_it_says` |
//! | bodies are decoded and framed anew, extensions dropped | `what_is_proper_reaches_the_application_in_one_form` | |
//! | a body or a trailer that breaks its framing | `a_body_that_breaks_its_framing_is_refused_and_ends_the_connection` | `a_body_is_as_long_as_it_says`, `a_body_that_is_given_up_is_not_taken_for_a_whole_one`, `trailers_over_http2_carry_no_more` |
//! | answers are framed anew, and none is another's | `answers_are_framed_anew`, `what_an_application_sends_too_much_reaches_nobody`, `an_answer_to_head_has_no_body` | |
//! | a tunnel is a WebSocket's, after the application's 101 | `only_a_websocket_is_asked_for`, `a_refused_websocket_opens_no_tunnel` | `a_tunnel_is_not_given` |
//! | nothing is continued before a permit | `nothing_is_continued_before_a_permit` | |
//! | a connection to the application is one caller's | `upstream_connections_are_one_callers_own` | |
//! | heads and trailers have limits | `heads_have_limits` | `heads_have_limits`, `heads_far_beyond_the_limit_are_told_of`, `trailers_over_http2_have_limits` |
//! | frames that break the protocol | | `frames_that_break_the_protocol_end_the_connection`, `a_stream_is_used_once` |
//! | slow heads, and answers that nobody takes | `a_head_that_comes_byte_by_byte_is_given_up`, `a_head_that_hides_behind_a_request_has_its_time_limit_too`, `requests_that_nobody_reads_the_answers_of_are_not_collected` | `answers_that_nobody_takes_are_not_collected`, `windows_that_open_by_a_byte_cost_no_memory` |
//! | resets (CVE-2023-44487, CVE-2025-8671) | | `rapid_resets_end_the_connection`, `streams_that_the_sidecar_is_made_to_reset_end_the_connection` |
//! | continuations (CVE-2024-27316) | | `continuations_without_an_end_end_the_connection` |
//! | settings, pings, priorities, windows, unknown and empty frames; the smallest chunks | `a_body_of_the_smallest_chunks_passes_in_little_memory` | `floods_of_small_frames_harm_nobody_else` |
//! | streams at a time | | `more_streams_than_allowed_are_refused` |
//! | handshakes that stall, and junk | `handshakes_that_stall_leave_room_for_callers`, `junk_instead_of_a_handshake_is_refused` | |

mod floods;
mod framing;
mod headers;
mod hosts;
mod http2;
mod http2_floods;
mod http2_frames;
mod trailers;
mod upgrades;

use crate::support::h2::{H2, fields};
use crate::support::prelude::*;
use crate::support::recorder::OK;

async fn house() -> House<Recorder> {
    House::recording(Recorder::answering(OK).await).await
}

async fn raw<A>(house: &House<A>) -> Raw {
    Raw::open(&house.http1(&house.pki.gateway())).await
}

async fn open<A>(house: &House<A>) -> H2 {
    H2::open(&house.http2(&house.pki.gateway())).await
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/p")];
    fields(&[&pseudo, more].concat())
}

#[test]
fn the_table_names_tests_that_there_are() {
    let sources = [
        include_str!("floods.rs"),
        include_str!("framing.rs"),
        include_str!("headers.rs"),
        include_str!("hosts.rs"),
        include_str!("http2.rs"),
        include_str!("http2_floods.rs"),
        include_str!("http2_frames.rs"),
        include_str!("trailers.rs"),
        include_str!("upgrades.rs"),
    ]
    .concat();
    let table = include_str!("mod.rs").lines().filter(|line| line.starts_with("//! |"));
    let named: Vec<_> = table.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        assert!(sources.contains(&format!("#[tokio::test]\nasync fn {name}()")), "{name}");
    }
}
