//! Avro schema to columns.
//!
//! Owns: the type mapping (ecosystem notes, 5.1).
//! Does not own: reading values; whether a document is valid Avro (`crate::avro`).
//! Invariants: every type of the document has a way to be read, also one that makes no column; a column's type takes
//! at least one byte of every value, so that what is counted in a value is bounded by its length.
//!
//! | Avro | column |
//! |---|---|
//! | boolean, int, long, float, double, bytes, string | Boolean, Int32, Int64, Float32, Float64, Binary, Utf8 |
//! | fixed, enum | FixedSizeBinary, Utf8 (the symbol) |
//! | record, array, map | Struct, List, Map from Utf8 |
//! | `[null, T]` in either order | T |
//! | other unions | Struct with one field for each type, named by it; all of them null but one |
//! | decimal to precision 38 on bytes or fixed | Decimal128 |
//! | uuid on string or fixed(16) | FixedSizeBinary(16) with Arrow's extension name `arrow.uuid` |
//! | date; time-millis, time-micros | Date32; Time64(µs) |
//! | timestamp-millis, -micros, -nanos | Timestamp(µs, UTC); nanoseconds are cut off |
//! | local-timestamp-millis, -micros, -nanos | Timestamp(µs) without a zone; nanoseconds are cut off |
//! | null, duration, fixed of no bytes; records, lists and maps of such alone | none: passed over |
//! | a type that contains itself | refused |
//!
//! An unknown logical type, or one on a type it does not belong to, counts for nothing, as the specification has it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::{Map, Value};

use super::super::plan::UTC;
use super::super::{DecodeOptions, SetupError};
use crate::avro::{self, Names};
use crate::registry::ResolvedSchema;

/// Key of a column's metadata: the field's aliases, a JSON array of strings.
pub const ALIASES_KEY: &str = "avro.aliases";
/// Key and value of the metadata of columns of UUIDs (Arrow's canonical extension type).
const UUID_EXTENSION: (&str, &str) = ("ARROW:extension:name", "arrow.uuid");

/// Deepest nesting of columns.
const DEPTH_MAX: usize = 32;
/// Most columns, nested ones included.
const NODES_MAX: usize = 2_000;
/// Digits of the longest decimal.
const DECIMAL_DIGITS_MAX: u64 = 38;
/// Bytes of the longest `fixed`.
const FIXED_BYTES_MAX: u64 = 1 << 20;

/// A compiled schema.
pub(in super::super) struct Plan {
    pub(in super::super) columns: SchemaRef,
    /// Of a schema that is no record, the one value: a record of one field is written as its field is.
    pub(super) root: Record,
    pub(in super::super) is_bare: bool,
}

/// How a type is read, and its column.
pub(super) struct Node {
    pub(super) read: Read,
    /// None: the type makes no column.
    data_type: Option<DataType>,
    /// Number of arrays that one value adds to, nested ones included.
    pub(super) cells: usize,
    /// Arrow's extension name is to be set.
    is_uuid: bool,
}

/// How a type is read.
pub(super) enum Read {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Enum(Vec<Box<str>>),
    /// That many bytes.
    Fixed(usize),
    /// A decimal on bytes; its precision.
    DecimalBytes(u8),
    /// A decimal on so many bytes; its precision.
    DecimalFixed(usize, u8),
    UuidText,
    TimeMillis,
    TimeMicros,
    Timestamp(Unit),
    Record(Record),
    Array(Box<Node>),
    Map(Box<Node>),
    /// A union of null, at this index, and a type.
    Optional(u8, Box<Node>),
    /// A union of one type: an index of no choice, then the value.
    Only(Box<Node>),
    /// A union of several types and perhaps null.
    Union(Vec<Branch>),
}

/// What a timestamp counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// A record's fields in the order in which they are written.
pub(super) struct Record {
    pub(super) fields: Vec<RecordField>,
}

pub(super) struct RecordField {
    pub(super) name: Box<str>,
    pub(super) node: Node,
    /// Index of its column among the record's columns.
    pub(super) column: Option<usize>,
}

/// A type of a union.
pub(super) struct Branch {
    pub(super) node: Node,
    pub(super) column: Option<usize>,
    pub(super) is_null: bool,
}

impl Plan {
    pub(in super::super) fn compile(
        resolved: &ResolvedSchema,
        options: &DecodeOptions,
    ) -> Result<Self, SetupError> {
        let id = resolved.schema.id;
        let at_root = |reason: String| SetupError::Unsupported { id, path: "$".into(), reason };
        let documents = resolved.references.iter().map(|r| avro::parse(&r.schema.schema));
        let documents: Vec<Value> = documents.collect::<Result<_, _>>().map_err(at_root)?;
        let document = avro::parse(&resolved.schema.schema).map_err(at_root)?;
        let mut names = Names::default();
        documents.iter().chain([&document]).for_each(|document| names.collect(document, ""));
        let mut compiler = Compiler { id, names: &names, nodes: 0, open: Vec::new() };
        let node = compiler.node(&document, "", "$", 0)?;
        let bare = options.bare_name.as_deref().filter(|_| !matches!(node.read, Read::Record(_)));
        if let Some((name, column)) = bare.and_then(|name| Some((name, node.field(name)?))) {
            let root = Record { fields: vec![RecordField { name: name.into(), node, column: Some(0) }] };
            return Ok(Self { columns: Arc::new(Schema::new(vec![column])), root, is_bare: true });
        }
        let Node { read: Read::Record(root), data_type: Some(DataType::Struct(fields)), .. } = node else {
            let reason = "a value must be a record with fields that become columns".into();
            return Err(at_root(reason));
        };
        Ok(Self { columns: Arc::new(Schema::new(fields)), root, is_bare: false })
    }
}

struct Compiler<'a> {
    id: i32,
    names: &'a Names<'a>,
    nodes: usize,
    /// Named types that are being compiled.
    open: Vec<String>,
}

impl<'a> Compiler<'a> {
    fn refuse<T>(&self, path: &str, reason: impl Into<String>) -> Result<T, SetupError> {
        Err(SetupError::Unsupported { id: self.id, path: path.to_owned(), reason: reason.into() })
    }

    fn node(
        &mut self,
        schema: &'a Value,
        namespace: &str,
        path: &str,
        depth: usize,
    ) -> Result<Node, SetupError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.refuse(path, format!("the schema makes more than {NODES_MAX} columns"));
        }
        if depth > DEPTH_MAX {
            return self.refuse(path, format!("columns are nested deeper than {DEPTH_MAX} levels"));
        }
        match schema {
            Value::String(name) => self.by_name(name, &Map::new(), namespace, path, depth),
            Value::Array(branches) => self.union(branches, namespace, path, depth),
            Value::Object(members) => match members.get("type") {
                Some(Value::String(kind)) => match kind.as_str() {
                    "record" | "error" | "enum" | "fixed" => {
                        let (full_name, within) = avro::full_name(members, namespace);
                        self.named(members, full_name, &within, path, depth)
                    }
                    "array" => self.array(members, namespace, path, depth),
                    "map" => self.map(members, namespace, path, depth),
                    name => self.by_name(name, members, namespace, path, depth),
                },
                Some(inner) => self.node(inner, namespace, path, depth + 1),
                None => self.refuse(path, "a schema without a `type`"),
            },
            _ => self.refuse(path, "a schema is a name, an object or an array"),
        }
    }

    /// A primitive type with its attributes, or the name of a type that was defined.
    fn by_name(
        &mut self,
        name: &str,
        attributes: &Map<String, Value>,
        namespace: &str,
        path: &str,
        depth: usize,
    ) -> Result<Node, SetupError> {
        if avro::PRIMITIVES.contains(&name) {
            return self.primitive(name, attributes, path);
        }
        let Some((full_name, named)) = self.names.find(name, namespace) else {
            return self.refuse(path, format!("type {name} is not defined, here or in a reference"));
        };
        let (definition, within) = (named.definition, named.namespace.clone());
        self.named(definition, full_name, &within, path, depth)
    }

    fn primitive(&self, name: &str, attributes: &Map<String, Value>, path: &str) -> Result<Node, SetupError> {
        let logical = attributes.get("logicalType").and_then(Value::as_str).unwrap_or_default();
        Ok(match (name, logical) {
            ("bytes", "decimal") => match self.decimal(attributes, usize::MAX, path)? {
                Some((precision, scale)) => {
                    Node::of(Read::DecimalBytes(precision), DataType::Decimal128(precision, scale))
                }
                None => Node::of(Read::Bytes, DataType::Binary),
            },
            ("string", "uuid") => Node::uuid(Read::UuidText),
            ("int", "date") => Node::of(Read::Int, DataType::Date32),
            ("int", "time-millis") => Node::of(Read::TimeMillis, DataType::Time64(TimeUnit::Microsecond)),
            ("long", "time-micros") => Node::of(Read::TimeMicros, DataType::Time64(TimeUnit::Microsecond)),
            ("long", "timestamp-millis") => Node::timestamp(Unit::Millis, true),
            ("long", "timestamp-micros") => Node::timestamp(Unit::Micros, true),
            ("long", "timestamp-nanos") => Node::timestamp(Unit::Nanos, true),
            ("long", "local-timestamp-millis") => Node::timestamp(Unit::Millis, false),
            ("long", "local-timestamp-micros") => Node::timestamp(Unit::Micros, false),
            ("long", "local-timestamp-nanos") => Node::timestamp(Unit::Nanos, false),
            ("boolean", _) => Node::of(Read::Boolean, DataType::Boolean),
            ("int", _) => Node::of(Read::Int, DataType::Int32),
            ("long", _) => Node::of(Read::Long, DataType::Int64),
            ("float", _) => Node::of(Read::Float, DataType::Float32),
            ("double", _) => Node::of(Read::Double, DataType::Float64),
            ("bytes", _) => Node::of(Read::Bytes, DataType::Binary),
            ("string", _) => Node::of(Read::Text, DataType::Utf8),
            _ => Node::ignored(Read::Null),
        })
    }

    /// Precision and scale of a decimal on so many bytes; none when the attributes make no decimal.
    fn decimal(
        &self,
        attributes: &Map<String, Value>,
        size: usize,
        path: &str,
    ) -> Result<Option<(u8, i8)>, SetupError> {
        let precision = attributes.get("precision").and_then(Value::as_u64).unwrap_or(0);
        let scale = attributes.get("scale").map_or(Some(0), Value::as_u64);
        // As many digits as the largest number of so many bytes is sure to have.
        let digits = (size.min(64) * 8).saturating_sub(1) as f64 * std::f64::consts::LOG10_2;
        let Some(scale) = scale.filter(|s| *s <= precision && precision > 0 && precision <= digits as u64)
        else {
            return Ok(None);
        };
        if precision > DECIMAL_DIGITS_MAX {
            let reason =
                format!("a decimal of {precision} digits: Iceberg holds {DECIMAL_DIGITS_MAX} at most");
            return self.refuse(path, reason);
        }
        Ok(Some((precision as u8, scale as i8)))
    }

    fn named(
        &mut self,
        definition: &'a Map<String, Value>,
        full_name: String,
        namespace: &str,
        path: &str,
        depth: usize,
    ) -> Result<Node, SetupError> {
        match definition.get("type").and_then(Value::as_str) {
            Some("enum") => {
                let symbols = definition.get("symbols").and_then(Value::as_array);
                let symbols =
                    symbols.into_iter().flatten().filter_map(Value::as_str).map(Box::from).collect();
                Ok(Node::of(Read::Enum(symbols), DataType::Utf8))
            }
            Some("fixed") => self.fixed(definition, path),
            _ => {
                if self.open.contains(&full_name) {
                    let reason = format!("type {full_name} contains itself: columns have a fixed depth");
                    return self.refuse(path, reason);
                }
                self.open.push(full_name);
                let node = self.record(definition, namespace, path, depth);
                self.open.pop();
                node
            }
        }
    }

    fn fixed(&self, definition: &Map<String, Value>, path: &str) -> Result<Node, SetupError> {
        let size = definition.get("size").and_then(Value::as_u64).unwrap_or(0);
        if size > FIXED_BYTES_MAX {
            return self.refuse(path, format!("a fixed of {size} bytes, more than {FIXED_BYTES_MAX}"));
        }
        let (bytes, width) = (size as usize, size as i32);
        match definition.get("logicalType").and_then(Value::as_str) {
            Some("duration") if size == 12 => return Ok(Node::ignored(Read::Fixed(bytes))),
            Some("uuid") if size == 16 => return Ok(Node::uuid(Read::Fixed(bytes))),
            Some("decimal") => {
                if let Some((precision, scale)) = self.decimal(definition, bytes, path)? {
                    let read = Read::DecimalFixed(bytes, precision);
                    return Ok(Node::of(read, DataType::Decimal128(precision, scale)));
                }
            }
            _ => {}
        }
        Ok(match bytes {
            0 => Node::ignored(Read::Fixed(0)),
            _ => Node::of(Read::Fixed(bytes), DataType::FixedSizeBinary(width)),
        })
    }

    fn record(
        &mut self,
        definition: &'a Map<String, Value>,
        namespace: &str,
        path: &str,
        depth: usize,
    ) -> Result<Node, SetupError> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        let mut cells = 1;
        for field in definition.get("fields").and_then(Value::as_array).into_iter().flatten() {
            let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
            let path = format!("{path}.{name}");
            let Some(schema) = field.get("type") else {
                return self.refuse(&path, "a field without a `type`");
            };
            let node = self.node(schema, namespace, &path, depth + 1)?;
            let column = node.field(name).map(|column| {
                columns.push(with_aliases(column, field.get("aliases")));
                columns.len() - 1
            });
            cells += node.cells;
            fields.push(RecordField { name: name.into(), node, column });
        }
        let read = Read::Record(Record { fields });
        Ok(Node { cells, ..Node::of_fields(read, columns) })
    }

    fn array(
        &mut self,
        members: &'a Map<String, Value>,
        namespace: &str,
        path: &str,
        depth: usize,
    ) -> Result<Node, SetupError> {
        let Some(items) = members.get("items") else { return self.refuse(path, "an array without `items`") };
        let items = self.node(items, namespace, &format!("{path}[]"), depth + 1)?;
        let (cells, element) = (items.cells + 1, items.field("element"));
        let data_type = element.map(|element| DataType::List(Arc::new(element)));
        Ok(Node { read: Read::Array(Box::new(items)), data_type, cells, is_uuid: false })
    }

    fn map(
        &mut self,
        members: &'a Map<String, Value>,
        namespace: &str,
        path: &str,
        depth: usize,
    ) -> Result<Node, SetupError> {
        let Some(values) = members.get("values") else { return self.refuse(path, "a map without `values`") };
        let values = self.node(values, namespace, &format!("{path}{{}}"), depth + 1)?;
        let (cells, value) = (values.cells + 2, values.field("value"));
        let data_type = value.map(|value| {
            let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), value]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
        });
        Ok(Node { read: Read::Map(Box::new(values)), data_type, cells, is_uuid: false })
    }

    fn union(
        &mut self,
        branches: &'a [Value],
        namespace: &str,
        path: &str,
        depth: usize,
    ) -> Result<Node, SetupError> {
        if let [first, second] = branches
            && let Some(null) = [first, second].into_iter().position(is_null)
        {
            let other = if null == 0 { second } else { first };
            let node = self.node(other, namespace, path, depth + 1)?;
            let (data_type, cells, is_uuid) = (node.data_type.clone(), node.cells, node.is_uuid);
            return Ok(Node { read: Read::Optional(null as u8, Box::new(node)), data_type, cells, is_uuid });
        }
        let names = self.branch_names(branches, namespace);
        let (mut read, mut columns) = (Vec::new(), Vec::new());
        let mut cells = 1;
        for (branch, name) in branches.iter().zip(names) {
            let node = self.node(branch, namespace, &format!("{path}.{name}"), depth + 1)?;
            let column = node.field(&name).map(|column| {
                columns.push(column);
                columns.len() - 1
            });
            cells += node.cells;
            read.push(Branch { node, column, is_null: is_null(branch) });
        }
        if matches!(read.as_slice(), [Branch { is_null: false, .. }])
            && let Some(Branch { node, .. }) = read.pop()
        {
            let (data_type, cells, is_uuid) = (node.data_type.clone(), node.cells, node.is_uuid);
            return Ok(Node { read: Read::Only(Box::new(node)), data_type, cells, is_uuid });
        }
        Ok(Node { cells, ..Node::of_fields(Read::Union(read), columns) })
    }

    /// What the types of a union are called: by their own name, or by the full one where two have the same.
    fn branch_names(&self, branches: &[Value], namespace: &str) -> Vec<String> {
        let full: Vec<String> = branches.iter().map(|branch| self.type_name(branch, namespace)).collect();
        let short = |name: &String| name.rsplit('.').next().unwrap_or(name).to_owned();
        let mut once = HashSet::new();
        let doubled: HashSet<String> =
            full.iter().map(short).filter(|name| !once.insert(name.clone())).collect();
        full.iter()
            .map(|name| if doubled.contains(&short(name)) { name.replace('.', "_") } else { short(name) })
            .collect()
    }

    fn type_name(&self, schema: &Value, namespace: &str) -> String {
        match schema {
            Value::String(name) => match self.names.find(name, namespace) {
                Some((full_name, _)) => full_name,
                None => name.clone(),
            },
            Value::Object(members) => match members.get("type").and_then(Value::as_str) {
                Some("record" | "error" | "enum" | "fixed") => avro::full_name(members, namespace).0,
                Some(kind @ ("array" | "map")) => kind.to_owned(),
                Some(name) => self.type_name(&Value::String(name.to_owned()), namespace),
                None => members.get("type").map(|t| self.type_name(t, namespace)).unwrap_or_default(),
            },
            _ => "union".into(),
        }
    }
}

fn is_null(schema: &Value) -> bool {
    schema == "null" || (schema.get("type").is_some_and(|t| t == "null"))
}

fn with_aliases(column: Field, aliases: Option<&Value>) -> Field {
    match aliases {
        Some(Value::Array(names)) if !names.is_empty() => {
            let mut metadata = column.metadata().clone();
            metadata.insert(ALIASES_KEY.to_owned(), Value::Array(names.clone()).to_string());
            column.with_metadata(metadata)
        }
        _ => column,
    }
}

impl Node {
    fn of(read: Read, data_type: DataType) -> Self {
        Self { read, data_type: Some(data_type), cells: 1, is_uuid: false }
    }

    fn ignored(read: Read) -> Self {
        Self { read, data_type: None, cells: 0, is_uuid: false }
    }

    fn uuid(read: Read) -> Self {
        Self { is_uuid: true, ..Self::of(read, DataType::FixedSizeBinary(16)) }
    }

    fn timestamp(unit: Unit, is_instant: bool) -> Self {
        let zone = is_instant.then(|| UTC.into());
        Self::of(Read::Timestamp(unit), DataType::Timestamp(TimeUnit::Microsecond, zone))
    }

    fn of_fields(read: Read, columns: Vec<Field>) -> Self {
        let data_type = (!columns.is_empty()).then(|| DataType::Struct(columns.into()));
        Self { read, data_type, cells: 1, is_uuid: false }
    }

    /// The column of that name; none when the type makes none.
    fn field(&self, name: &str) -> Option<Field> {
        let field = Field::new(name, self.data_type.clone()?, true);
        Some(if self.is_uuid {
            let (key, value) = UUID_EXTENSION;
            field.with_metadata(HashMap::from([(key.to_owned(), value.to_owned())]))
        } else {
            field
        })
    }
}
