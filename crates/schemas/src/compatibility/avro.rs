//! Avro: whether a reader's schema resolves what a writer's schema wrote.
//!
//! Owns: the rules of schema resolution, applied to schemas instead of data.
//! Does not own: names within a document (`crate::avro`).
//! Invariants: a pair of named types is compared once on each way down; a result that rests on the assumption that a
//! pair further up is compatible is not kept beyond that pair.
//! Source: Apache Avro 1.12, "Schema Resolution". Its own checker in the `apache-avro` crate knows no aliases of types, no
//! default of enums, no decimals and compares a reference with a definition as two types.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{Bounds, Difference, Sides};
use crate::avro::{self, Names, PRIMITIVES};
use crate::registry::ResolvedSchema;

/// A schema document with those it refers to.
struct Documents {
    main: Value,
    others: Vec<Value>,
}

impl Documents {
    fn parse(resolved: &ResolvedSchema) -> Result<Self, String> {
        let others = resolved.references.iter().map(|r| avro::parse(&r.schema.schema));
        Ok(Self { main: avro::parse(&resolved.schema.schema)?, others: others.collect::<Result<_, _>>()? })
    }

    fn names(&self) -> Names<'_> {
        let mut names = Names::default();
        self.others.iter().chain([&self.main]).for_each(|document| names.collect(document, ""));
        names
    }
}

/// What keeps `reader` from reading what was written with `writer`.
pub(super) fn compare(
    reader: &ResolvedSchema,
    writer: &ResolvedSchema,
    sides: Sides,
) -> Result<Vec<Difference>, String> {
    let (reader, writer) = (Documents::parse(reader)?, Documents::parse(writer)?);
    let mut checker = Checker {
        reader: reader.names(),
        writer: writer.names(),
        sides,
        bounds: Bounds::new(),
        known: HashMap::new(),
        open: Vec::new(),
        rests_on: usize::MAX,
    };
    let reader = At { schema: &reader.main, namespace: String::new() };
    let writer = At { schema: &writer.main, namespace: String::new() };
    Ok(checker.check(&reader, &writer, "/"))
}

/// A schema where it stands.
#[derive(Clone)]
struct At<'a> {
    schema: &'a Value,
    /// The namespace that holds there.
    namespace: String,
}

/// A schema with its name resolved.
enum Shape<'a> {
    Primitive(&'a str, Logical<'a>),
    Record(Named<'a>),
    Enum(Named<'a>),
    Fixed(Named<'a>),
    Array(At<'a>),
    Map(At<'a>),
    Union(Vec<At<'a>>),
    /// No schema: the registry has refused it.
    Unknown,
}

struct Named<'a> {
    full_name: String,
    definition: &'a Map<String, Value>,
    namespace: String,
}

/// What a number or string stands for.
#[derive(Clone, Copy)]
struct Logical<'a>(Option<&'a Map<String, Value>>);

impl Logical<'_> {
    /// The digits behind the point, or the unit of time: readers that differ in it read other values than were written.
    fn unit(&self) -> Option<(&str, u64)> {
        let attributes = self.0?;
        let (family, unit) = match attributes.get("logicalType")?.as_str()? {
            "decimal" => ("decimal", attributes.get("scale").and_then(Value::as_u64).unwrap_or(0)),
            "time-millis" => ("time", 3),
            "time-micros" => ("time", 6),
            "timestamp-millis" => ("timestamp", 3),
            "timestamp-micros" => ("timestamp", 6),
            "timestamp-nanos" => ("timestamp", 9),
            "local-timestamp-millis" => ("local-timestamp", 3),
            "local-timestamp-micros" => ("local-timestamp", 6),
            "local-timestamp-nanos" => ("local-timestamp", 9),
            _ => return None,
        };
        Some((family, unit))
    }

    fn agrees_with(&self, other: &Self) -> bool {
        match (self.unit(), other.unit()) {
            (Some((family, unit)), Some((other_family, other_unit))) => {
                family != other_family || unit == other_unit
            }
            _ => true,
        }
    }
}

fn shape<'a>(names: &Names<'a>, at: &At<'a>) -> Shape<'a> {
    match at.schema {
        Value::String(name) => by_name(names, name, &at.namespace, None),
        Value::Array(branches) => {
            let within = |schema| At { schema, namespace: at.namespace.clone() };
            Shape::Union(branches.iter().map(within).collect())
        }
        Value::Object(members) => by_definition(names, members, &at.namespace),
        _ => Shape::Unknown,
    }
}

fn by_name<'a>(
    names: &Names<'a>,
    name: &'a str,
    namespace: &str,
    attributes: Option<&'a Map<String, Value>>,
) -> Shape<'a> {
    if PRIMITIVES.contains(&name) {
        return Shape::Primitive(name, Logical(attributes));
    }
    match names.find(name, namespace) {
        Some((_, found)) => {
            // The name that was found may be bare; the definition knows its own namespace.
            named(found.definition, &found.namespace)
        }
        None => Shape::Unknown,
    }
}

fn named<'a>(definition: &'a Map<String, Value>, namespace: &str) -> Shape<'a> {
    let (full_name, within) = avro::full_name(definition, namespace);
    let named = Named { full_name, definition, namespace: within };
    match definition.get("type").and_then(Value::as_str) {
        Some("record" | "error") => Shape::Record(named),
        Some("enum") => Shape::Enum(named),
        Some("fixed") => Shape::Fixed(named),
        _ => Shape::Unknown,
    }
}

fn by_definition<'a>(names: &Names<'a>, members: &'a Map<String, Value>, namespace: &str) -> Shape<'a> {
    let part = |name: &str| members.get(name).map(|schema| At { schema, namespace: namespace.to_owned() });
    match members.get("type") {
        Some(Value::String(kind)) => match kind.as_str() {
            "record" | "error" | "enum" | "fixed" => named(members, namespace),
            "array" => part("items").map_or(Shape::Unknown, Shape::Array),
            "map" => part("values").map_or(Shape::Unknown, Shape::Map),
            name => by_name(names, name, namespace, Some(members)),
        },
        // Nested at most as deep as the document.
        Some(schema) => shape(names, &At { schema, namespace: namespace.to_owned() }),
        None => Shape::Unknown,
    }
}

impl Shape<'_> {
    fn word(&self) -> &str {
        match self {
            Self::Primitive(name, _) => name,
            Self::Record(_) => "record",
            Self::Enum(_) => "enum",
            Self::Fixed(_) => "fixed",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Unknown => "unknown",
        }
    }
}

struct Checker<'r, 'w> {
    reader: Names<'r>,
    writer: Names<'w>,
    sides: Sides,
    bounds: Bounds,
    /// Pairs of named types that were compared to the end.
    known: HashMap<(String, String), Vec<Difference>>,
    /// Pairs of named types that are being compared, outermost first.
    open: Vec<(String, String)>,
    /// The outermost open pair that was taken for compatible since this was last reset.
    rests_on: usize,
}

impl<'r, 'w> Checker<'r, 'w> {
    fn check(&mut self, reader: &At<'r>, writer: &At<'w>, path: &str) -> Vec<Difference> {
        if !self.bounds.enter() {
            return vec![Bounds::exceeded(path)];
        }
        let (read, written) = (shape(&self.reader, reader), shape(&self.writer, writer));
        let found = match (&read, &written) {
            (_, Shape::Union(branches)) => self.written_union(reader, &read, branches, path),
            (Shape::Union(branches), _) => self.read_union(branches, writer, written.word(), path),
            (Shape::Record(read), Shape::Record(written)) => {
                self.named_pair(read, written, path, Self::records)
            }
            (Shape::Enum(read), Shape::Enum(written)) => self.named_pair(read, written, path, Self::enums),
            (Shape::Fixed(read), Shape::Fixed(written)) => self.named_pair(read, written, path, Self::fixed),
            (Shape::Array(read), Shape::Array(written)) => self.check(read, written, &join(path, "items")),
            (Shape::Map(read), Shape::Map(written)) => self.check(read, written, &join(path, "values")),
            (Shape::Primitive(read_as, read_unit), Shape::Primitive(written_as, written_unit))
                if promotes(written_as, read_as) && read_unit.agrees_with(written_unit) =>
            {
                Vec::new()
            }
            _ => vec![self.type_mismatch(&read, &written, path)],
        };
        self.bounds.leave();
        found
    }

    fn type_mismatch(&self, read: &Shape<'_>, written: &Shape<'_>, path: &str) -> Difference {
        let Sides { reader, writer } = self.sides;
        let (read_as, written_as) = (described(read), described(written));
        Difference {
            kind: "TYPE_MISMATCH",
            description: format!(
                "The type (path '{path}') of a field in the {reader} schema does not match with the {writer} schema: \
                 reader type {read_as} is not compatible with writer type {written_as}"
            ),
        }
    }

    /// Whatever branch was written must be readable.
    fn written_union(
        &mut self,
        reader: &At<'r>,
        read: &Shape<'r>,
        branches: &[At<'w>],
        path: &str,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            let within = join(path, &index.to_string());
            match read {
                Shape::Union(choices) => {
                    let word = shape(&self.writer, branch).word().to_owned();
                    found.extend(self.read_union(choices, branch, &word, &within));
                }
                _ => found.extend(self.check(reader, branch, path)),
            }
        }
        found
    }

    /// One of the reader's branches must take it.
    fn read_union(&mut self, choices: &[At<'r>], writer: &At<'w>, word: &str, path: &str) -> Vec<Difference> {
        if choices.iter().any(|choice| self.check(choice, writer, path).is_empty()) {
            return Vec::new();
        }
        let Sides { reader, writer } = self.sides;
        vec![Difference {
            kind: "MISSING_UNION_BRANCH",
            description: format!(
                "The {reader} schema is missing a type inside a union field at path '{path}' in the {writer} schema: \
                 no branch of the reader's union takes writer type {word}"
            ),
        }]
    }

    fn named_pair(
        &mut self,
        read: &Named<'r>,
        written: &Named<'w>,
        path: &str,
        compare: fn(&mut Self, &Named<'r>, &Named<'w>, &str) -> Vec<Difference>,
    ) -> Vec<Difference> {
        if !same_name(read, written) {
            return vec![Difference {
                kind: "NAME_MISMATCH",
                description: format!(
                    "The name of the schema has changed (path '{}'): {} is {} in the {} schema",
                    join(path, "name"),
                    written.full_name,
                    read.full_name,
                    self.sides.reader
                ),
            }];
        }
        let pair = (read.full_name.clone(), written.full_name.clone());
        if let Some(at) = self.open.iter().position(|open| *open == pair) {
            self.rests_on = self.rests_on.min(at);
            return Vec::new();
        }
        if let Some(known) = self.known.get(&pair) {
            return known.clone();
        }
        let outer = std::mem::replace(&mut self.rests_on, usize::MAX);
        let level = self.open.len();
        self.open.push(pair.clone());
        let found = compare(self, read, written, path);
        self.open.pop();
        if self.rests_on >= level {
            self.known.insert(pair, found.clone());
            self.rests_on = usize::MAX;
        }
        self.rests_on = self.rests_on.min(outer);
        found
    }

    fn records(&mut self, read: &Named<'r>, written: &Named<'w>, path: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        let by_name: HashMap<&str, &'w Map<String, Value>> =
            fields(written.definition).filter_map(|field| Some((text(field, "name")?, field))).collect();
        for (index, field) in fields(read.definition).enumerate() {
            let at = join(path, &format!("fields/{index}"));
            let names = [text(field, "name")].into_iter().chain(aliases(field));
            let sent = names.flatten().find_map(|name| by_name.get(name));
            match (sent, field.get("type")) {
                (Some(sent), Some(schema)) => {
                    let Some(sent_as) = sent.get("type") else { continue };
                    let reader = At { schema, namespace: read.namespace.clone() };
                    let writer = At { schema: sent_as, namespace: written.namespace.clone() };
                    found.extend(self.check(&reader, &writer, &join(&at, "type")));
                }
                (None, _) if !field.contains_key("default") => {
                    let Sides { reader, writer } = self.sides;
                    let name = text(field, "name").unwrap_or_default();
                    found.push(Difference {
                        kind: "READER_FIELD_MISSING_DEFAULT_VALUE",
                        description: format!(
                            "The field '{name}' at path '{at}' in the {reader} schema has no default value and is \
                             missing in the {writer} schema"
                        ),
                    });
                }
                _ => {}
            }
        }
        found
    }

    fn enums(&mut self, read: &Named<'r>, written: &Named<'w>, path: &str) -> Vec<Difference> {
        if read.definition.contains_key("default") {
            return Vec::new();
        }
        let known: HashSet<&str> = symbols(read.definition).collect();
        let missing: Vec<&str> =
            symbols(written.definition).filter(|symbol| !known.contains(symbol)).collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let Sides { reader, writer } = self.sides;
        let (at, missing) = (join(path, "symbols"), missing.join(", "));
        vec![Difference {
            kind: "MISSING_ENUM_SYMBOLS",
            description: format!(
                "The {reader} schema is missing enum symbols '[{missing}]' at path '{at}' in the {writer} schema"
            ),
        }]
    }

    fn fixed(&mut self, read: &Named<'r>, written: &Named<'w>, path: &str) -> Vec<Difference> {
        let size = |named: &Map<String, Value>| named.get("size").and_then(Value::as_u64);
        if size(read.definition) != size(written.definition) {
            let Sides { reader, writer } = self.sides;
            return vec![Difference {
                kind: "FIXED_SIZE_MISMATCH",
                description: format!(
                    "The size of FIXED type field at path '{}' in the {reader} schema does not match with the {writer} \
                     schema",
                    join(path, "size")
                ),
            }];
        }
        if Logical(Some(read.definition)).agrees_with(&Logical(Some(written.definition))) {
            return Vec::new();
        }
        let (read, written) = (Logical(Some(read.definition)), Logical(Some(written.definition)));
        vec![self.type_mismatch(&Shape::Primitive("fixed", read), &Shape::Primitive("fixed", written), path)]
    }
}

fn described(shape: &Shape<'_>) -> String {
    let logical = match shape {
        Shape::Primitive(_, logical) => *logical,
        _ => Logical(None),
    };
    let kind = logical.0.and_then(|a| a.get("logicalType")).and_then(Value::as_str);
    match (kind, logical.unit()) {
        (Some("decimal"), Some((_, scale))) => format!("{} (decimal, scale {scale})", shape.word()),
        (Some(kind), _) => format!("{} ({kind})", shape.word()),
        (None, _) => shape.word().to_owned(),
    }
}

/// Whether what was written as one primitive type can be read as another.
fn promotes(written: &str, read: &str) -> bool {
    written == read
        || matches!(
            (written, read),
            ("int", "long" | "float" | "double")
                | ("long", "float" | "double")
                | ("float", "double")
                | ("string", "bytes")
                | ("bytes", "string")
        )
}

/// Unqualified names count, as in the specification, and the reader's aliases.
fn same_name(read: &Named<'_>, written: &Named<'_>) -> bool {
    let bare = |name: &str| name.rsplit('.').next().map(str::to_owned);
    bare(&read.full_name) == bare(&written.full_name)
        || aliases(read.definition).flatten().any(|alias| {
            let full = match alias.contains('.') || read.namespace.is_empty() {
                true => alias.to_owned(),
                false => format!("{}.{alias}", read.namespace),
            };
            full == written.full_name
        })
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

fn list<'a>(members: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    members.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn aliases(members: &Map<String, Value>) -> impl Iterator<Item = Option<&str>> {
    list(members, "aliases").map(Value::as_str)
}

fn symbols(members: &Map<String, Value>) -> impl Iterator<Item = &str> {
    list(members, "symbols").filter_map(Value::as_str)
}

fn fields(members: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    list(members, "fields").filter_map(Value::as_object)
}

fn join(path: &str, part: &str) -> String {
    if path == "/" { format!("/{part}") } else { format!("{path}/{part}") }
}
