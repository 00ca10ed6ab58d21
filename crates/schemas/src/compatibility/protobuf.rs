//! Protobuf: whether what was written with one file's messages can be read with another's.
//!
//! Owns: the rules: numbers, wire types, labels, oneofs.
//! Does not own: compiling (`crate::protobuf`).
//! Invariants: a pair of messages is compared once.
//! Source: "Updating A Message Type" of the language guide, and the names of Confluent's rules; from Buf's comes that a
//! number which was reserved must not be given to a field again.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::{Bounds, Difference, Sides};
use crate::protobuf;
use crate::registry::ResolvedSchema;

/// What keeps `reader` from reading what was written with `writer`.
pub(super) fn compare(
    reader: &ResolvedSchema,
    writer: &ResolvedSchema,
    sides: Sides,
) -> Result<Vec<Difference>, String> {
    let (reader, writer) = (protobuf::compile(reader)?, protobuf::compile(writer)?);
    let mut checker = Checker { sides, bounds: Bounds::new(), known: BTreeMap::new(), found: Vec::new() };
    let (read, written) = (reader.file.package_name(), writer.file.package_name());
    if read != written {
        checker.report("PACKAGE_CHANGED", "#/", &format!("the package is `{read}` and was `{written}`"));
    }
    checker.messages(reader.file.messages(), writer.file.messages(), "#");
    Ok(checker.found)
}

struct Checker {
    sides: Sides,
    bounds: Bounds,
    /// Pairs of messages and whether they get along; true while they are being compared.
    known: BTreeMap<(String, String), bool>,
    found: Vec<Difference>,
}

/// Kinds that have the same form on the wire.
#[derive(Debug, PartialEq, Eq)]
enum Wire {
    Varint,
    ZigZag,
    Bytes,
    Fixed32,
    Fixed64,
    Float,
    Double,
}

fn wire(kind: &Kind) -> Option<Wire> {
    Some(match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => Wire::Varint,
        Kind::Sint32 | Kind::Sint64 => Wire::ZigZag,
        Kind::String | Kind::Bytes => Wire::Bytes,
        Kind::Fixed32 | Kind::Sfixed32 => Wire::Fixed32,
        Kind::Fixed64 | Kind::Sfixed64 => Wire::Fixed64,
        Kind::Float => Wire::Float,
        Kind::Double => Wire::Double,
        Kind::Message(_) => return None,
    })
}

/// A message's name without its package.
fn local_name(message: &MessageDescriptor) -> &str {
    let (name, package) = (message.full_name(), message.package_name());
    match name.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')) {
        Some(local) if !package.is_empty() => local,
        _ => name,
    }
}

/// The oneof of a field, unless it is the one that stands for `optional`.
fn oneof(field: &FieldDescriptor) -> Option<String> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic()).map(|oneof| oneof.name().to_owned())
}

/// The numbers of a oneof's fields.
fn oneofs(message: &MessageDescriptor) -> BTreeMap<String, BTreeSet<u32>> {
    let real = message.oneofs().filter(|oneof| !oneof.is_synthetic());
    real.map(|oneof| (oneof.name().to_owned(), oneof.fields().map(|field| field.number()).collect()))
        .collect()
}

impl Checker {
    fn report(&mut self, kind: &'static str, path: &str, what: &str) {
        let Sides { reader, writer } = self.sides;
        self.found.push(Difference {
            kind,
            description: format!(
                "At path '{path}' in the {reader} schema, compared with the {writer} schema: {what}"
            ),
        });
    }

    fn messages(
        &mut self,
        reader: impl Iterator<Item = MessageDescriptor>,
        writer: impl Iterator<Item = MessageDescriptor>,
        path: &str,
    ) {
        let by_name: BTreeMap<String, MessageDescriptor> =
            reader.filter(|m| !m.is_map_entry()).map(|m| (m.name().to_owned(), m)).collect();
        for written in writer.filter(|message| !message.is_map_entry()) {
            let within = format!("{path}/{}", written.name());
            match by_name.get(written.name()) {
                Some(read) => {
                    self.message(read, &written, &within);
                    self.messages(read.child_messages(), written.child_messages(), &within);
                }
                None => {
                    let what = format!("message {} is missing", written.full_name());
                    self.report("MESSAGE_REMOVED", &within, &what);
                }
            }
        }
    }

    /// Whether a message reads another one.
    fn message(&mut self, read: &MessageDescriptor, written: &MessageDescriptor, path: &str) -> bool {
        let pair = (read.full_name().to_owned(), written.full_name().to_owned());
        if let Some(known) = self.known.get(&pair) {
            return *known;
        }
        if !self.bounds.enter() {
            self.found.push(Bounds::exceeded(path));
            return false;
        }
        let before = self.found.len();
        self.known.insert(pair.clone(), true);
        self.oneofs(read, written, path);
        let numbers: BTreeSet<u32> =
            read.fields().chain(written.fields()).map(|field| field.number()).collect();
        for number in numbers {
            let within = format!("{path}/{number}");
            match (read.get_field(number), written.get_field(number)) {
                (Some(read), Some(sent)) => self.field(&read, &sent, &within),
                (Some(read), None) => self.added(&read, written, &within),
                (None, Some(sent)) => self.removed(&sent, read, &within),
                (None, None) => {}
            }
        }
        self.bounds.leave();
        let compatible = self.found.len() == before;
        self.known.insert(pair, compatible);
        compatible
    }

    fn added(&mut self, field: &FieldDescriptor, written: &MessageDescriptor, path: &str) {
        if field.cardinality() == Cardinality::Required {
            self.report("REQUIRED_FIELD_ADDED", path, &format!("field {} is required and new", field.name()));
        }
        if written.reserved_ranges().any(|range| range.contains(&field.number())) {
            let what = format!("field {} has number {}, which was reserved", field.name(), field.number());
            self.report("RESERVED_NUMBER_USED", path, &what);
        }
    }

    fn removed(&mut self, field: &FieldDescriptor, read: &MessageDescriptor, path: &str) {
        if field.cardinality() == Cardinality::Required {
            self.report("REQUIRED_FIELD_REMOVED", path, &format!("field {} was required", field.name()));
        }
        if let Some(oneof) = oneof(field).filter(|oneof| oneofs(read).contains_key(oneof)) {
            let what = format!("field {} of oneof {oneof} is missing", field.name());
            self.report("ONEOF_FIELD_REMOVED", path, &what);
        }
    }

    /// What was sent side by side must not have to share one place.
    fn oneofs(&mut self, read: &MessageDescriptor, written: &MessageDescriptor, path: &str) {
        for (name, numbers) in oneofs(read) {
            let before: Vec<FieldDescriptor> = numbers.iter().filter_map(|n| written.get_field(*n)).collect();
            let (inside, outside): (Vec<_>, Vec<_>) = before.iter().partition(|field| oneof(field).is_some());
            let from: BTreeSet<_> = inside.iter().filter_map(|field| oneof(field)).collect();
            let within = format!("{path}/{name}");
            if outside.len() > 1 {
                let what = format!("several fields were moved into oneof {name}");
                self.report("MULTIPLE_FIELDS_MOVED_TO_ONEOF", &within, &what);
            } else if outside.len() == 1 && !inside.is_empty() || from.len() > 1 {
                let what = format!("a field was moved into oneof {name}, which had others");
                self.report("FIELD_MOVED_TO_EXISTING_ONEOF", &within, &what);
            }
        }
    }

    fn field(&mut self, read: &FieldDescriptor, sent: &FieldDescriptor, path: &str) {
        let (read_required, sent_required) =
            (read.cardinality() == Cardinality::Required, sent.cardinality() == Cardinality::Required);
        if read_required && !sent_required {
            self.report("REQUIRED_FIELD_ADDED", path, &format!("field {} became required", read.name()));
        }
        if read.is_map() != sent.is_map() {
            let what = format!("field {} was {} and is {}", read.name(), form(sent), form(read));
            return self.report("FIELD_KIND_CHANGED", path, &what);
        }
        match (wire(&read.kind()), wire(&sent.kind())) {
            (Some(reads), Some(was)) => {
                if reads != was {
                    let what = format!("field {} was {} and is {}", read.name(), form(sent), form(read));
                    self.report("FIELD_SCALAR_KIND_CHANGED", path, &what);
                } else if read.is_list() != sent.is_list() && reads != Wire::Bytes {
                    let what = format!("field {} was {} and is {}", read.name(), form(sent), form(read));
                    self.report("FIELD_NUMERIC_LABEL_CHANGED", path, &what);
                }
            }
            (None, None) => self.message_field(read, sent, path),
            _ => {
                let what = format!("field {} was {} and is {}", read.name(), form(sent), form(read));
                self.report("FIELD_KIND_CHANGED", path, &what);
            }
        }
    }

    fn message_field(&mut self, read: &FieldDescriptor, sent: &FieldDescriptor, path: &str) {
        let (Kind::Message(reads), Kind::Message(was)) = (read.kind(), sent.kind()) else { return };
        if !read.is_map() && local_name(&reads) != local_name(&was) {
            let what = format!("field {} was {} and is {}", read.name(), was.full_name(), reads.full_name());
            return self.report("FIELD_NAMED_TYPE_CHANGED", path, &what);
        }
        // Messages of other files are compared here; those of this one have their turn anyway.
        let _ = self.message(&reads, &was, path);
    }
}

/// A field's type in words.
fn form(field: &FieldDescriptor) -> String {
    if field.is_map() {
        return "a map".into();
    }
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    if field.is_list() { format!("repeated {kind}") } else { kind }
}
