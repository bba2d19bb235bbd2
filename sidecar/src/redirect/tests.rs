//! The rules at work: real sockets between two network namespaces.

mod icmp;
mod namespace;
mod refusals;
mod traffic;

use namespace::{NEIGHBOUR_V4, POD_V4, Pair};

use super::{RedirectError, guard};

/// The environment that the downward API gives the pod of a [`Pair`].
fn pod_environment(variable: &str) -> Option<String> {
    match variable {
        "POD_IPS" => Some(POD_V4.to_owned()),
        "HOST_IPS" => Some(NEIGHBOUR_V4.to_owned()),
        _ => None,
    }
}

/// A pair whose pod is closed.
fn closed_pair(test: &str) -> Option<Pair> {
    let pair = Pair::new(test)?;
    close(&pair).unwrap();
    Some(pair)
}

fn close(pair: &Pair) -> Result<(), RedirectError> {
    close_but_for(pair, &[])
}

fn close_but_for(pair: &Pair, udp_ports: &[u16]) -> Result<(), RedirectError> {
    pair.pod.run(|| guard(udp_ports, pod_environment)).map(drop)
}

/// The name of the test that this stands in, as the test harness knows it.
macro_rules! test_name {
    ($function:literal) => {
        concat!(module_path!(), "::", $function).split_once("::").unwrap().1
    };
}
use test_name;
