//! Whether a schema can follow another one: compatibility levels and the rules of the three formats.
//!
//! Owns: the levels and their words; which schema reads which; the form and the bounds of what is reported.
//! Does not own: which versions a schema is compared with (registry); the rules themselves (`avro`, `json`, `protobuf`).
//! Invariants: both schemas were found valid before; a comparison ends: it takes at most `STEPS_MAX` steps and goes at
//! most `DEPTH_MAX` deep, and what lies beyond counts as incompatible, by name.
//! Source: Confluent's "Schema Evolution and Compatibility" page, whose words for levels and differences these are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::registry::{ResolvedSchema, SchemaType};

mod avro;
mod json;
mod json_array;
mod json_object;
mod json_refs;
mod json_scalars;
mod json_words;
mod protobuf;

/// Most comparisons of two types within one check of two schemas.
const STEPS_MAX: usize = 50_000;
/// Deepest nesting of comparisons; references through names count.
const DEPTH_MAX: usize = 80;
/// Most differences that are reported of two schemas.
const DIFFERENCES_MAX: usize = 100;

/// Which other versions of its subject a new schema must get along with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compatibility {
    None,
    /// The new schema reads what was written with the latest version. Confluent's default.
    #[default]
    Backward,
    /// … with any version.
    BackwardTransitive,
    /// The latest version reads what is written with the new schema.
    Forward,
    /// Every version does.
    ForwardTransitive,
    /// Both ways.
    Full,
    FullTransitive,
}

/// All levels with their names.
const LEVELS: [(Compatibility, &str); 7] = [
    (Compatibility::None, "NONE"),
    (Compatibility::Backward, "BACKWARD"),
    (Compatibility::BackwardTransitive, "BACKWARD_TRANSITIVE"),
    (Compatibility::Forward, "FORWARD"),
    (Compatibility::ForwardTransitive, "FORWARD_TRANSITIVE"),
    (Compatibility::Full, "FULL"),
    (Compatibility::FullTransitive, "FULL_TRANSITIVE"),
];

impl Compatibility {
    /// The level's name in requests and answers.
    pub fn name(self) -> &'static str {
        LEVELS.iter().find(|(level, _)| *level == self).map_or("", |(_, name)| name)
    }

    /// Whether all versions count and not the latest one alone.
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    fn is_backward(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    fn is_forward(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }
}

impl FromStr for Compatibility {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let found = LEVELS.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(level, _)| *level).ok_or(())
    }
}

/// Something about a schema because of which it cannot stand beside another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Confluent's word for it.
    pub kind: &'static str,
    /// A sentence with the place.
    pub description: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{errorType:'{}', description:'{}'}}", self.kind, self.description)
    }
}

/// The two schemas of a comparison in the words of a message: who reads is named first.
#[derive(Debug, Clone, Copy)]
struct Sides {
    reader: &'static str,
    writer: &'static str,
}

const BACKWARD: Sides = Sides { reader: "new", writer: "old" };
const FORWARD: Sides = Sides { reader: "old", writer: "new" };

/// What keeps `new` from following `old` under a level. Empty when nothing does.
pub fn differences(level: Compatibility, new: &ResolvedSchema, old: &ResolvedSchema) -> Vec<Difference> {
    let mut found = Vec::new();
    if level == Compatibility::None {
        return found;
    }
    if new.schema.schema_type != old.schema.schema_type {
        return vec![Difference {
            kind: "TYPE_CHANGED",
            description: format!(
                "The new schema is {} and the old one {}",
                word(new.schema.schema_type),
                word(old.schema.schema_type)
            ),
        }];
    }
    if level.is_backward() {
        found.extend(one_way(new, old, BACKWARD));
    }
    if level.is_forward() {
        found.extend(one_way(old, new, FORWARD));
    }
    found.truncate(DIFFERENCES_MAX);
    found
}

fn word(schema_type: SchemaType) -> &'static str {
    match schema_type {
        SchemaType::Avro => "AVRO",
        SchemaType::Json => "JSON",
        SchemaType::Protobuf => "PROTOBUF",
    }
}

/// Whether `reader` can read what was written with `writer`.
fn one_way(reader: &ResolvedSchema, writer: &ResolvedSchema, sides: Sides) -> Vec<Difference> {
    let compared = match reader.schema.schema_type {
        SchemaType::Avro => avro::compare(reader, writer, sides),
        SchemaType::Json => json::compare(reader, writer, sides),
        SchemaType::Protobuf => protobuf::compare(reader, writer, sides),
    };
    // A version that was valid when it was registered and is not any more, for example under a stricter parser.
    compared.unwrap_or_else(|reason| {
        vec![Difference {
            kind: "SCHEMA_UNREADABLE",
            description: format!("The schemas cannot be compared: {reason}"),
        }]
    })
}

/// The bounds of one comparison.
#[derive(Debug)]
struct Bounds {
    steps: usize,
    depth: usize,
}

impl Bounds {
    fn new() -> Self {
        Self { steps: STEPS_MAX, depth: 0 }
    }

    /// Goes one comparison deeper; false when that is too far. Each `enter` that said true needs a `leave`.
    fn enter(&mut self) -> bool {
        if self.steps == 0 || self.depth == DEPTH_MAX {
            return false;
        }
        self.steps -= 1;
        self.depth += 1;
        true
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn exceeded(path: &str) -> Difference {
        Difference {
            kind: "COMPARISON_TOO_LARGE",
            description: format!(
                "Comparing the schemas at '{path}' takes more than {STEPS_MAX} steps or goes deeper than {DEPTH_MAX} levels"
            ),
        }
    }
}

#[cfg(test)]
mod avro_tests;
#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod protobuf_tests;
#[cfg(test)]
mod recursion_tests;
