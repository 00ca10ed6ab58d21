//! Protobuf messages to columns.
//!
//! Owns: the type mapping (ecosystem notes, 5.1).
//! Does not own: reading values; compiling `.proto` files (`crate::protobuf`).
//! Invariants: the plan is a tree: no message contains itself.
//!
//! | Protobuf | column |
//! |---|---|
//! | bool, float, double, string, bytes | Boolean, Float32, Float64, Utf8, Binary |
//! | int32, sint32, sfixed32 | Int32 |
//! | int64, sint64, sfixed64; uint32, fixed32 | Int64 |
//! | uint64, fixed64 | Utf8, in base 10 |
//! | enum | Utf8: the name, or the number where it has none |
//! | repeated, map, message | List, Map, Struct |
//! | google.protobuf.Timestamp | Timestamp(µs, UTC); nanoseconds are cut off |
//! | a member of a oneof | a column of its own, null in messages that hold another member |
//! | a message without fields | none: passed over |
//! | a message that contains itself; a group | refused |
//!
//! Columns tell which field of which message they are ([`FIELD_KEY`]): a field that is renamed keeps its number.
//!
//! A field without presence (proto3, no `optional`) is never null: what is left out has its default. With presence it is
//! null. `google.protobuf`'s wrappers are messages like any other.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as Column, Fields, Schema, SchemaRef, TimeUnit};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::super::plan::UTC;
use super::super::{DecodeOptions, SetupError};
use crate::protobuf;
use crate::registry::ResolvedSchema;

/// Key of a column's metadata: the full name of its message and the field's number, `pkg.Order#3`.
pub const FIELD_KEY: &str = "protobuf.field";

/// Deepest nesting of columns.
const DEPTH_MAX: usize = 32;
/// Most columns, nested ones included.
const NODES_MAX: usize = 2_000;

/// Field numbers that are found without a search.
const DIRECT_NUMBERS: usize = 64;

/// A compiled message.
pub(in super::super) struct Plan {
    pub(in super::super) columns: SchemaRef,
    pub(super) root: Message,
}

/// A message's fields that become columns, in the order of the file.
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
    /// Index of a field by its number, for small numbers; `NONE` for others.
    direct: [u16; DIRECT_NUMBERS],
    by_number: HashMap<u32, usize>,
    /// How many fields hold one message.
    pub(super) slots: usize,
    /// How many oneofs there are.
    pub(super) oneofs: usize,
}

const NONE: u16 = u16::MAX;

/// A field, whose column has the same index.
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) number: u32,
    pub(super) shape: Shape,
    /// Index of its oneof within the message.
    pub(super) oneof: Option<usize>,
}

/// How often a field holds a value.
pub(super) enum Shape {
    Single(Value, Absent),
    /// The number of arrays that each item adds to.
    Repeated(Value, usize),
    /// Key and value, and the number of arrays that each entry adds to.
    Map(Value, Value, usize),
}

/// What a field is that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    Null,
    Default,
    /// proto2's `required`.
    Refused,
}

/// A value.
pub(super) enum Value {
    Scalar(Scalar),
    Timestamp { slot: usize },
    Message { message: Box<Message>, slot: usize },
}

/// A value that is no message.
pub(super) enum Scalar {
    Bool,
    Float,
    Double,
    Text,
    Bytes,
    Int32,
    Sint32,
    Sfixed32,
    Int64,
    Sint64,
    Sfixed64,
    Uint32,
    Fixed32,
    Uint64,
    Fixed64,
    Enum { names: HashMap<i32, Box<str>>, default: i32 },
}

impl Message {
    /// The field of that number, if it becomes a column.
    #[inline]
    pub(super) fn find(&self, number: u32) -> Option<usize> {
        match self.direct.get(number as usize) {
            Some(index) => (*index != NONE).then_some(usize::from(*index)),
            None => self.by_number.get(&number).copied(),
        }
    }
}

impl Plan {
    pub(in super::super) fn compile(
        resolved: &ResolvedSchema,
        options: &DecodeOptions,
    ) -> Result<Self, SetupError> {
        let id = resolved.schema.id;
        let at_root = |reason: String| SetupError::Unsupported { id, path: "$".into(), reason };
        let compiled = protobuf::compile(resolved).map_err(at_root)?;
        let message = compiled.message(options.protobuf_name.as_deref()).map_err(at_root)?;
        let mut compiler = Compiler { id, nodes: 0, open: Vec::new() };
        let Some((root, columns, _)) = compiler.message(&message, "$", 0)? else {
            return Err(at_root(format!(
                "message {} has no fields that become columns",
                message.full_name()
            )));
        };
        Ok(Self { columns: Arc::new(Schema::new(columns)), root })
    }
}

struct Compiler {
    id: i32,
    nodes: usize,
    /// Full names of messages that are being compiled.
    open: Vec<String>,
}

/// A value, its column's type and the number of arrays it adds to.
type Typed = (Value, DataType, usize);

impl Compiler {
    fn refuse<T>(&self, path: &str, reason: impl Into<String>) -> Result<T, SetupError> {
        Err(SetupError::Unsupported { id: self.id, path: path.to_owned(), reason: reason.into() })
    }

    /// None for a message that makes no columns.
    fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        path: &str,
        depth: usize,
    ) -> Result<Option<(Message, Fields, usize)>, SetupError> {
        if depth > DEPTH_MAX {
            return self.refuse(path, format!("columns are nested deeper than {DEPTH_MAX} levels"));
        }
        let full_name = descriptor.full_name().to_owned();
        if self.open.contains(&full_name) {
            let reason = format!("message {full_name} contains itself: columns have a fixed depth");
            return self.refuse(path, reason);
        }
        self.open.push(full_name);
        let (mut fields, mut columns, mut cells) = (Vec::new(), Vec::new(), 1);
        let (mut slots, mut oneofs) = (0, Vec::new());
        for field in in_file_order(descriptor) {
            let path = format!("{path}.{}", field.name());
            let Some((shape, data_type, count)) = self.field(&field, &mut slots, &path, depth)? else {
                continue;
            };
            let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()).map(|oneof| {
                let name = oneof.name().to_owned();
                oneofs.iter().position(|known| *known == name).unwrap_or_else(|| {
                    oneofs.push(name);
                    oneofs.len() - 1
                })
            });
            cells += count;
            let identity = format!("{}#{}", descriptor.full_name(), field.number());
            let column = Column::new(field.name(), data_type, true);
            columns.push(column.with_metadata(HashMap::from([(FIELD_KEY.to_owned(), identity)])));
            fields.push(Field { name: field.name().into(), number: field.number(), shape, oneof });
        }
        self.open.pop();
        if columns.is_empty() {
            return Ok(None);
        }
        let (mut direct, mut by_number) = ([NONE; DIRECT_NUMBERS], HashMap::new());
        for (index, field) in fields.iter().enumerate() {
            match direct.get_mut(field.number as usize) {
                Some(place) => *place = index as u16,
                None => drop(by_number.insert(field.number, index)),
            }
        }
        let message = Message { fields, direct, by_number, slots, oneofs: oneofs.len() };
        Ok(Some((message, columns.into(), cells)))
    }

    fn field(
        &mut self,
        field: &FieldDescriptor,
        slots: &mut usize,
        path: &str,
        depth: usize,
    ) -> Result<Option<(Shape, DataType, usize)>, SetupError> {
        if field.is_group() {
            return self.refuse(path, "groups are not supported: use a message");
        }
        if field.is_map() {
            return self.map(field, slots, path, depth);
        }
        let path = if field.is_list() { format!("{path}[]") } else { path.to_owned() };
        let Some((value, data_type, cells)) = self.value(&field.kind(), slots, &path, depth)? else {
            return Ok(None);
        };
        if field.is_list() {
            let element = Arc::new(Column::new("element", data_type, true));
            return Ok(Some((Shape::Repeated(value, cells), DataType::List(element), cells + 1)));
        }
        let absent = match (field.is_required(), field.supports_presence()) {
            (true, _) => Absent::Refused,
            (false, true) => Absent::Null,
            (false, false) => Absent::Default,
        };
        Ok(Some((Shape::Single(value, absent), data_type, cells)))
    }

    fn map(
        &mut self,
        field: &FieldDescriptor,
        slots: &mut usize,
        path: &str,
        depth: usize,
    ) -> Result<Option<(Shape, DataType, usize)>, SetupError> {
        let Kind::Message(entry) = field.kind() else { return self.refuse(path, "a map without entries") };
        let key = self.value(&entry.map_entry_key_field().kind(), slots, path, depth)?;
        let path = format!("{path}{{}}");
        let value = self.value(&entry.map_entry_value_field().kind(), slots, &path, depth)?;
        let (Some((key, key_type, _)), Some((value, value_type, cells))) = (key, value) else {
            return Ok(None);
        };
        let members =
            Fields::from(vec![Column::new("key", key_type, false), Column::new("value", value_type, true)]);
        let entries = Arc::new(Column::new("key_value", DataType::Struct(members), false));
        let cells = cells + 1;
        Ok(Some((Shape::Map(key, value, cells), DataType::Map(entries, false), cells + 1)))
    }

    fn value(
        &mut self,
        kind: &Kind,
        slots: &mut usize,
        path: &str,
        depth: usize,
    ) -> Result<Option<Typed>, SetupError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.refuse(path, format!("the message makes more than {NODES_MAX} columns"));
        }
        let scalar = |scalar, data_type| Ok(Some((Value::Scalar(scalar), data_type, 1)));
        match kind {
            Kind::Bool => scalar(Scalar::Bool, DataType::Boolean),
            Kind::Float => scalar(Scalar::Float, DataType::Float32),
            Kind::Double => scalar(Scalar::Double, DataType::Float64),
            Kind::String => scalar(Scalar::Text, DataType::Utf8),
            Kind::Bytes => scalar(Scalar::Bytes, DataType::Binary),
            Kind::Int32 => scalar(Scalar::Int32, DataType::Int32),
            Kind::Sint32 => scalar(Scalar::Sint32, DataType::Int32),
            Kind::Sfixed32 => scalar(Scalar::Sfixed32, DataType::Int32),
            Kind::Int64 => scalar(Scalar::Int64, DataType::Int64),
            Kind::Sint64 => scalar(Scalar::Sint64, DataType::Int64),
            Kind::Sfixed64 => scalar(Scalar::Sfixed64, DataType::Int64),
            Kind::Uint32 => scalar(Scalar::Uint32, DataType::Int64),
            Kind::Fixed32 => scalar(Scalar::Fixed32, DataType::Int64),
            Kind::Uint64 => scalar(Scalar::Uint64, DataType::Utf8),
            Kind::Fixed64 => scalar(Scalar::Fixed64, DataType::Utf8),
            Kind::Enum(descriptor) => scalar(enumeration(descriptor), DataType::Utf8),
            Kind::Message(message) => {
                let slot = *slots;
                if message.full_name() == "google.protobuf.Timestamp" {
                    *slots += 1;
                    let data_type = DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
                    return Ok(Some((Value::Timestamp { slot }, data_type, 1)));
                }
                let Some((message, fields, cells)) = self.message(message, path, depth + 1)? else {
                    return Ok(None);
                };
                *slots += 1;
                let message = Box::new(message);
                Ok(Some((Value::Message { message, slot }, DataType::Struct(fields), cells)))
            }
        }
    }
}

/// A message's fields as they stand in the file (the library sorts them by number).
fn in_file_order(descriptor: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let proto = descriptor.descriptor_proto();
    let numbers = proto.field.iter().filter_map(|field| u32::try_from(field.number()).ok());
    numbers.filter_map(|number| descriptor.get_field(number)).collect()
}

fn enumeration(descriptor: &EnumDescriptor) -> Scalar {
    let mut names = HashMap::new();
    for value in descriptor.values() {
        // Of aliases the first one counts.
        names.entry(value.number()).or_insert_with(|| value.name().into());
    }
    Scalar::Enum { names, default: descriptor.default_value().number() }
}
