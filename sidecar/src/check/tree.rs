//! YAML (and so JSON) as a tree whose values know their places.

use std::collections::HashMap;

use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::{Marker, ScanError, TScalarStyle};

/// Values that a file may have, those of aliases counted each time.
const NODES: usize = 100_000;
/// How deep they may lie in each other.
const DEPTH: usize = 64;

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool,
    Integer(i128),
    /// Any other number.
    Number,
    Text(String),
    List(Vec<Node>),
    /// Keys with their places, in their order.
    Map(Vec<(String, Place, Node)>),
}

impl Node {
    /// A member of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(members) => members.iter().find(|(name, ..)| name == key).map(|(.., value)| value),
            _ => None,
        }
    }

    /// Follows names and positions as far as they lead: the nearest value that is there.
    pub(super) fn follow(&self, path: &[Step<'_>]) -> &Node {
        let mut node = self;
        for step in path {
            let next = match (step, &node.kind) {
                (Step::Key(key), Kind::Map(_)) => node.get(key),
                (Step::At(at), Kind::List(items)) => items.get(*at),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }
}

/// A step into a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Key(&'a str),
    At(usize),
}

/// What is being read: a list or a map, and where its end will be put.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, Place)>,
}

/// Reads the first document.
pub(super) fn read(text: &str) -> Result<Node, (Place, String)> {
    let mut parser = Parser::new_from_str(text);
    let mut open = Vec::<Open>::new();
    let (mut anchors, mut count) = (HashMap::<usize, Node>::new(), 0);
    loop {
        let (event, marker) = parser.next_token().map_err(|error| syntax(&error))?;
        let here = place(marker);
        let start = |kind| Node { place: here, kind };
        let done = match event {
            Event::Scalar(text, style, anchor, _) => Some((start(scalar(text, style)), anchor)),
            Event::SequenceStart(anchor, _) => {
                open.push(Open { node: start(Kind::List(Vec::new())), anchor, key: None });
                None
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open { node: start(Kind::Map(Vec::new())), anchor, key: None });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|it| (begun(it.node), it.anchor)),
            Event::Alias(anchor) => {
                let Some(known) = anchors.get(&anchor) else {
                    return Err((here, "the alias is of nothing; write the value itself".to_owned()));
                };
                count += size(known);
                Some((Node { place: here, kind: known.kind.clone() }, 0))
            }
            Event::StreamEnd | Event::DocumentEnd => {
                return Err((here, "the file is empty; docs/standalone.md says what it holds".to_owned()));
            }
            Event::Nothing | Event::StreamStart | Event::DocumentStart => None,
        };
        count += 1;
        if count > NODES || open.len() > DEPTH {
            return Err((
                here,
                format!("more than {NODES} values, or {DEPTH} of them in each other; write less"),
            ));
        }
        let Some((node, anchor)) = done else { continue };
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        let Some(parent) = open.last_mut() else { return Ok(node) };
        match (&mut parent.node.kind, parent.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Map(members), Some((key, at))) => members.push((key, at, node)),
            (_, None) => parent.key = Some((key(&node), node.place)),
            _ => {}
        }
    }
}

/// A map without braces begins with its first key; the parser says where that key ends.
fn begun(mut node: Node) -> Node {
    if let Kind::Map(members) = &node.kind
        && let Some((_, first, _)) = members.first()
    {
        node.place = node.place.min(*first);
    }
    node
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => items.iter().map(size).sum::<usize>() + 1,
        Kind::Map(members) => members.iter().map(|(.., value)| size(value)).sum::<usize>() + 1,
        _ => 1,
    }
}

fn key(node: &Node) -> String {
    match &node.kind {
        Kind::Text(text) => text.clone(),
        Kind::Integer(number) => number.to_string(),
        _ => "?".to_owned(),
    }
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

fn syntax(error: &ScanError) -> (Place, String) {
    (place(*error.marker()), format!("this is no YAML: {}", error.info()))
}

fn scalar(text: String, style: TScalarStyle) -> Kind {
    if style != TScalarStyle::Plain {
        return Kind::Text(text);
    }
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Bool,
        _ if text.parse::<i128>().is_ok() => text.parse().map_or(Kind::Number, Kind::Integer),
        _ if text.starts_with(|it: char| it.is_ascii_digit() || it == '-' || it == '.')
            && text.parse::<f64>().is_ok() =>
        {
            Kind::Number
        }
        _ => Kind::Text(text),
    }
}
