//! YAML text to a tree whose every node knows its line.
//!
//! Owns: which YAML is taken: one document of maps, lists and scalars; anchors, aliases and tags are refused, so a
//! small file cannot become a large tree.
//! Does not own: the meaning of keys.

use std::path::Path;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

use super::problem::{Place, Problem};

/// Deepest nesting.
const DEPTH_MAX: usize = 32;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Place, Node)>),
}

impl Node {
    /// The scalar's text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// A container that is still open.
enum Open {
    List(Place, Vec<Node>),
    Map { place: Place, entries: Vec<(String, Place, Node)>, key: Option<(String, Place)> },
}

struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
}

/// Parses `text`, the contents of `file`.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Node, Problem> {
    let name: Arc<str> = file.display().to_string().into();
    let mut builder = Builder { open: Vec::new(), root: None };
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| Problem {
            place: Place { file: Arc::clone(&name), line: error.marker().line() },
            key: String::new(),
            reason: format!("is no YAML: {error}"),
        })?;
        let place = Place { file: Arc::clone(&name), line: span.start.line() };
        builder.take(event, place)?;
    }
    Ok(builder.root.unwrap_or(Node { place: Place { file: name, line: 1 }, value: Value::Null }))
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Problem> {
        if event.anchor_id().is_some() || event.is_alias() {
            return Err(refused(place, "anchors and aliases are not taken: write the value out"));
        }
        if event.tag().is_some() {
            return Err(refused(place, "tags such as `!name` are not taken"));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let plain = matches!(style, ScalarStyle::Plain);
                let value = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar(text.into_owned())
                };
                self.put(Node { place, value })
            }
            Event::SequenceStart(..) => self.open(Open::List(place.clone(), Vec::new()), place),
            Event::MappingStart(..) => {
                self.open(Open::Map { place: place.clone(), entries: Vec::new(), key: None }, place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(refused(place, "a second document: put it into a file of its own"))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, container: Open, place: Place) -> Result<(), Problem> {
        if self.open.len() >= DEPTH_MAX {
            return Err(refused(place, "is nested too deeply"));
        }
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(refused(place, "a key must be a single value"));
        }
        self.open.push(container);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let node = match self.open.pop() {
            Some(Open::List(place, items)) => Node { place, value: Value::List(items) },
            Some(Open::Map { place, entries, .. }) => Node { place, value: Value::Map(entries) },
            None => return Ok(()),
        };
        self.put(node)
    }

    fn put(&mut self, node: Node) -> Result<(), Problem> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some((name, place)) => entries.push((name, place, node)),
                None => {
                    let Value::Scalar(name) = node.value else {
                        return Err(refused(node.place, "a key must be a single value"));
                    };
                    if let Some((_, first, _)) = entries.iter().find(|(have, ..)| *have == name) {
                        let reason = format!("key `{name}` is there twice, first in line {}", first.line);
                        return Err(Problem { place: node.place, key: String::new(), reason });
                    }
                    *key = Some((name, node.place));
                }
            },
        }
        Ok(())
    }
}

fn refused(place: Place, reason: &str) -> Problem {
    Problem { place, key: String::new(), reason: reason.to_owned() }
}
