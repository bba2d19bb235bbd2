//! The application's named ports, taken over by the sidecar (`interception: Listener`).
//!
//! Where a container names a port, the name moves to one of the sidecar's: a Service that goes by the name then leads
//! to the sidecar. The application's own number stays, without a name, in the entry behind it:
//! `[{name: http, containerPort: 8080}]` becomes `[{name: http, containerPort: 15200}, {containerPort: 8080}]`.

use std::collections::BTreeMap;

use postern_config::layout;
use serde_json::{Map, Value, json};

/// A pod has more named ports than the sidecar has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

fn is_named_tcp(port: &Value) -> bool {
    let tcp = port.get("protocol").and_then(Value::as_str).is_none_or(|protocol| protocol == "TCP");
    tcp && port.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
}

fn number(port: &Value) -> Option<u16> {
    port.get("containerPort").and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok())
}

/// Whether `port` is a name that leads to the sidecar.
fn is_moved(port: &Value) -> bool {
    is_named_tcp(port) && number(port).is_some_and(layout::is_listener_port)
}

/// The ports of one container as its author wrote them.
pub fn restored(ports: &[Value]) -> Vec<Value> {
    let mut restored: Vec<Value> = Vec::new();
    let mut name = None;
    for port in ports {
        if is_moved(port) {
            name = Some(port.clone());
            continue;
        }
        let mut port = port.clone();
        if let (Some(Value::Object(mut moved)), None, Some(own)) =
            (name.take(), port.get("name"), port.get("containerPort"))
        {
            moved.insert("containerPort".to_owned(), own.clone());
            port = Value::Object(moved);
        }
        restored.push(port);
    }
    restored
}

/// Moves the names of one container's ports, as its author wrote them, to ports of the sidecar. `listeners` holds those
/// of the containers before, and gets these. A name that an earlier container has is taken off: for a Service that one
/// counts.
///
/// # Errors
/// If the sidecar has no port left.
pub fn moved(
    ports: &[Value],
    names: &mut BTreeMap<String, u16>,
    listeners: &mut BTreeMap<u16, u16>,
) -> Result<Vec<Value>, TooMany> {
    let mut moved = Vec::new();
    for port in ports {
        let (true, Some(own), Some(Value::String(name))) =
            (is_named_tcp(port), number(port), port.get("name").cloned())
        else {
            moved.push(port.clone());
            continue;
        };
        let mut unnamed = Map::from_iter([("containerPort".to_owned(), json!(own))]);
        unnamed.extend(port.get("protocol").map(|protocol| ("protocol".to_owned(), protocol.clone())));
        if !names.contains_key(&name) {
            let index = u16::try_from(names.len()).map_err(|_| TooMany)?;
            if index >= layout::LISTENER_PORTS {
                return Err(TooMany);
            }
            let listener = layout::LISTENER_PORT + index;
            names.insert(name, own);
            listeners.insert(listener, own);
            let mut taken = port.as_object().cloned().unwrap_or_default();
            taken.insert("containerPort".to_owned(), json!(listener));
            moved.push(Value::Object(taken));
        }
        moved.push(Value::Object(unnamed));
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_and_come_back() {
        let written = json!([
            {"name": "http", "containerPort": 8080, "protocol": "TCP", "hostPort": 80},
            {"containerPort": 9000},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "metrics", "containerPort": 9090},
        ]);
        let written = written.as_array().unwrap();
        let (mut names, mut listeners) = (BTreeMap::new(), BTreeMap::new());
        let ports = moved(written, &mut names, &mut listeners).unwrap();
        assert_eq!(
            json!(ports),
            json!([
                {"name": "http", "containerPort": 15200, "protocol": "TCP", "hostPort": 80},
                {"containerPort": 8080, "protocol": "TCP"},
                {"containerPort": 9000},
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"name": "metrics", "containerPort": 15201},
                {"containerPort": 9090},
            ])
        );
        assert_eq!(listeners, BTreeMap::from([(15200, 8080), (15201, 9090)]));
        assert_eq!(restored(&ports), *written);
        assert_eq!(restored(written), *written, "what was not moved stays");
        let again = json!([{"name": "http", "containerPort": 7000}]);
        let again = moved(again.as_array().unwrap(), &mut names, &mut listeners).unwrap();
        assert_eq!(json!(again), json!([{"containerPort": 7000}]), "the name is another container's");
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let ports = |count: u16| -> Vec<Value> {
            (0..count).map(|n| json!({"name": format!("p{n}"), "containerPort": 1000 + n})).collect()
        };
        let moved = |count| moved(&ports(count), &mut BTreeMap::new(), &mut BTreeMap::new());
        assert!(moved(layout::LISTENER_PORTS).is_ok());
        assert_eq!(moved(layout::LISTENER_PORTS + 1), Err(TooMany));
    }
}
