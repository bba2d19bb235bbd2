//! Postern on real pods. Each file is named after the behaviour that it shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "panicking is how a test fails"
)]

mod api_server_restarted;
mod applications_of_other_protocols;
mod audit_mode;
mod backend_verification;
mod bad_resources;
mod basic_lock;
mod cel_rules;
mod changes_reach_pods;
mod chart;
mod databases;
mod direct_calls_refused;
mod edited_secret;
mod existing_pods;
mod foreign_authorities;
mod foreign_object_in_the_way;
mod forged_certificates_refused;
mod forwarded_certificate;
mod gateway_identity_headers;
mod hand_injected_for_other_trust;
mod header_lock;
mod helm_rollback;
mod http2_and_streaming;
mod injected_image_changed;
mod ipv6_only_service;
mod job_completes;
mod label_changes;
mod large_bodies;
mod leader_failover;
mod leaf_rotation_under_load;
mod lifecycle_hooks;
mod listener_mode;
mod lock_combinations;
mod named_callers;
mod operator_down;
mod paths_outside_rules;
mod pod_restarted_in_place;
mod probes_of_all_kinds;
mod revoked_certificates;
mod route_deleted;
mod scale_idle;
mod shared_gateway_trick;
mod sidecar_image_upgrade;
mod staged_rollout;
mod stateful_peers_on_open_port;
mod tcp_through_gateway;
mod third_party_server;
mod trust_deleted;
mod udp_refused;
mod unlock;
mod unprotectable_pods_refused;
mod websocket_and_events;
mod what_people_see;
mod workload_and_lock_in_one_chart;
