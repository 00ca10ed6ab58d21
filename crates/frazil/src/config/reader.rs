//! Reading one map strictly: keys are taken by name, what is left over is refused.

use base::units;

use super::nearest::nearest;
use super::problem::{Place, Problems};
use super::tree::{Node, Value};

/// A map that is being read.
pub(crate) struct Block<'a> {
    place: Place,
    /// Dotted path of the map in the file.
    path: String,
    entries: Vec<(String, Place, Node)>,
    problems: &'a mut Problems,
}

impl<'a> Block<'a> {
    /// Begins to read `node`, which must be a map or empty.
    pub(crate) fn open(node: Node, path: &str, problems: &'a mut Problems) -> Self {
        let entries = match node.value {
            Value::Map(entries) => entries,
            Value::Null => Vec::new(),
            _ => {
                problems.add(node.place.clone(), path, format!("must be a map, not {}", node.kind()));
                Vec::new()
            }
        };
        Self { place: node.place, path: path.to_owned(), entries, problems }
    }

    pub(crate) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// Notes a problem with one of the map's keys, at the map's own place.
    pub(crate) fn problem(&mut self, key: &str, reason: impl Into<String>) {
        let (place, key) = (self.place.clone(), self.path_of(key));
        self.problems.add(place, &key, reason);
    }

    /// Notes a problem at a place; `key` is relative to the map.
    pub(crate) fn problem_at(&mut self, place: &Place, key: &str, reason: impl Into<String>) {
        let key = self.path_of(key);
        self.problems.add(place.clone(), &key, reason);
    }

    /// Where `key` stands, and its dotted path.
    pub(crate) fn place_of(&self, key: &str) -> Option<(Place, String)> {
        let (_, place, _) = self.entries.iter().find(|(name, ..)| name == key)?;
        Some((place.clone(), self.path_of(key)))
    }

    /// Whether `key` is there and has not been taken yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, ..)| name == key)
    }

    /// The value under `key`, if there is one.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node> {
        self.take_with_place(key).map(|(_, node)| node)
    }

    fn take_with_place(&mut self, key: &str) -> Option<(Place, Node)> {
        let at = self.entries.iter().position(|(name, ..)| name == key)?;
        let (_, place, node) = self.entries.remove(at);
        Some((place, node))
    }

    /// The map under `key`.
    pub(crate) fn block(&mut self, key: &str) -> Option<Block<'_>> {
        let (place, mut node) = self.take_with_place(key)?;
        node.place = place;
        let path = self.path_of(key);
        Some(Block::open(node, &path, self.problems))
    }

    /// Names and values of the map under `key`.
    pub(crate) fn entries(&mut self, key: &str) -> Vec<(String, Place, Node)> {
        let mut entries = self.block(key).map_or_else(Vec::new, |block| block.entries);
        for (_, place, node) in &mut entries {
            // A map begins at its first key for the parser; people look for its name.
            node.place = place.clone();
        }
        entries
    }

    /// A single value.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.text_at(key).map(|(_, text)| text)
    }

    /// A single value and where it stands.
    pub(crate) fn text_at(&mut self, key: &str) -> Option<(Place, String)> {
        let (_, node) = self.take_with_place(key)?;
        match node.value {
            Value::Scalar(text) => Some((node.place, text)),
            _ => {
                let reason = format!("must be a single value, not {}", node.kind());
                self.problem_at(&node.place, key, reason);
                None
            }
        }
    }

    /// A single value that `parse` understands.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (place, text) = self.text_at(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problem_at(&place, key, reason);
                None
            }
        }
    }

    /// A whole number.
    pub(crate) fn number(&mut self, key: &str, least: i32) -> Option<i32> {
        self.parsed(key, |text| match text.parse::<i32>() {
            Ok(number) if number >= least => Ok(number),
            _ => Err(format!("`{text}` is no whole number from {least} up")),
        })
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        self.parsed(key, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        })
    }

    /// A duration in milliseconds.
    pub(crate) fn duration_ms(&mut self, key: &str) -> Option<u128> {
        self.parsed(key, |text| units::parse_duration(text).map(|d| d.as_millis()))
    }

    /// A list of single values, or one single value.
    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.take(key)?;
        let items = match node.value {
            Value::List(items) => items,
            Value::Scalar(text) => return Some(vec![text]),
            _ => {
                let reason = format!("must be a list, not {}", node.kind());
                self.problem_at(&node.place, key, reason);
                return None;
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.value {
                Value::Scalar(text) => texts.push(text),
                _ => {
                    let reason = format!("holds {}, where a single value is needed", item.kind());
                    self.problem_at(&item.place, key, reason);
                }
            }
        }
        Some(texts)
    }

    /// Refuses what has not been taken.
    pub(crate) fn close(self, known: &[&str], later: &[&str]) {
        for (name, place, _) in self.entries {
            let reason = if later.contains(&name.as_str()) {
                "is not available yet in this version".to_owned()
            } else {
                match nearest(&name, known) {
                    Some(near) => format!("unknown key; did you mean `{near}`?"),
                    None => format!("unknown key; known are {}", known.join(", ")),
                }
            };
            self.problems.add(place, &join(&self.path, &name), reason);
        }
    }

    /// The dotted path of a key of the map.
    pub(crate) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        (path, "") => path.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}
