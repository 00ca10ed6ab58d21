//! Protobuf schemas: their files, imports and messages.
//!
//! Owns: all use of `protox` (the compiler) and of `prost-reflect`'s descriptors outside of plans.
//! Does not own: columns (decode).
//! Invariants: nothing is ever read from a disk: an import is a reference or one of Google's well-known files. The
//! nesting of messages is bounded by the compiler (31), other braces by `BRACES_MAX`, chains of imports by the number of
//! references; the compiler refuses circles.
//! Source: Protocol Buffers language guide; Confluent's registry takes `.proto` text, or a base64
//! `FileDescriptorProto` as some of its clients send it.

use std::collections::HashMap;

use base64::Engine;
use prost_reflect::prost::Message;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::file::{File, FileResolver, GoogleFileResolver};

use crate::registry::{RegisteredSchema, ResolvedSchema, SchemaType};

/// Deepest nesting of braces and brackets in a text.
const BRACES_MAX: usize = 100;
/// Longest message of an error that is passed on, in characters.
const REASON_CHARS_MAX: usize = 500;

/// A schema that was compiled with its references.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) pool: DescriptorPool,
    pub(crate) file: FileDescriptor,
}

/// Reads one file by itself: text, or a base64 descriptor.
fn parse(name: &str, text: &str) -> Result<File, protox::Error> {
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    if !text.is_empty() && text.bytes().all(is_base64) {
        let descriptor = base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|e| protox::Error::new(format!("it is neither a .proto file nor base64: {e}")))?;
        let mut descriptor = FileDescriptorProto::decode(descriptor.as_slice())
            .map_err(|e| protox::Error::new(format!("its base64 is no file descriptor: {e}")))?;
        descriptor.name = Some(name.to_owned());
        return Ok(File::from_file_descriptor_proto(descriptor));
    }
    if nested_deeper(text, BRACES_MAX) {
        return Err(protox::Error::new(format!("it is nested deeper than {BRACES_MAX} levels")));
    }
    File::from_source(name, text)
}

/// Whether more than `most` braces or brackets are open at once; those in comments and strings count too, which no
/// sensible file notices.
fn nested_deeper(text: &str, most: usize) -> bool {
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'{' | b'[' | b'(' | b'<' => open += 1,
            b'}' | b']' | b')' | b'>' => open = open.saturating_sub(1),
            _ => {}
        }
        open > most
    })
}

/// The file's own descriptor, without comments and places: equal for texts that differ in those alone.
pub(crate) fn normalized(text: &str) -> Result<Vec<u8>, String> {
    let file = parse("schema.proto", text).map_err(reason)?;
    let mut descriptor = file.file_descriptor_proto().clone();
    descriptor.source_code_info = None;
    descriptor.name = None;
    Ok(descriptor.encode_to_vec())
}

impl RegisteredSchema {
    /// Whether a value has to say nothing but this schema's id for its type to be known: not so of a Protobuf file with
    /// several messages.
    pub fn has_one_type(&self) -> bool {
        self.schema_type != SchemaType::Protobuf
            || parse("schema.proto", &self.schema)
                .is_ok_and(|file| file.file_descriptor_proto().message_type.len() == 1)
    }
}

/// Compiles a schema with what it refers to.
pub(crate) fn compile(resolved: &ResolvedSchema) -> Result<Compiled, String> {
    let mut files = HashMap::with_capacity(resolved.references.len() + 1);
    for reference in &resolved.references {
        let file = parse(&reference.name, &reference.schema.schema)
            .map_err(|e| format!("reference {}: {}", reference.name, reason(e)))?;
        files.insert(reference.name.clone(), file);
    }
    let mut name = "schema.proto".to_owned();
    while files.contains_key(&name) {
        name.insert_str(0, "the/");
    }
    files.insert(name.clone(), parse(&name, &resolved.schema.schema).map_err(reason)?);
    let mut compiler =
        protox::Compiler::with_file_resolver(Registered { files, google: GoogleFileResolver::new() });
    compiler.include_imports(true).open_file(&name).map_err(reason)?;
    let pool = compiler.descriptor_pool();
    let file = pool.get_file_by_name(&name).ok_or("its descriptor is not there")?;
    Ok(Compiled { pool, file })
}

/// The library's debug form has the place in the file; that of its bare messages has quotes around them.
fn reason(error: protox::Error) -> String {
    let placed = format!("{error:?}");
    let message = if placed.starts_with('"') { error.to_string() } else { placed };
    message.chars().take(REASON_CHARS_MAX).collect()
}

/// The files of a schema and its references.
struct Registered {
    files: HashMap<String, File>,
    google: GoogleFileResolver,
}

impl FileResolver for Registered {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.files.get(name) {
            Some(file) => Ok(file.clone()),
            None => self.google.open_file(name).map_err(|_| {
                protox::Error::new(format!("{name} is imported but is not among the schema's references"))
            }),
        }
    }
}

impl Compiled {
    /// The message of that full name, the file's first one without a name.
    pub(crate) fn message(&self, name: Option<&str>) -> Result<MessageDescriptor, String> {
        let Some(name) = name else {
            return self.file.messages().next().ok_or_else(|| "the file has no message".into());
        };
        self.pool.get_message_by_name(name).ok_or_else(|| {
            let known: Vec<String> = self.file.messages().take(8).map(|m| m.full_name().to_owned()).collect();
            format!("there is no message {name}; the file has {}", known.join(", "))
        })
    }

    /// The message that a value's indexes stand for. Messages that a map stands for are not counted, as in Confluent's
    /// Java client.
    pub(crate) fn message_at(&self, indexes: &[u32]) -> Result<MessageDescriptor, String> {
        let missing = || format!("the file has no message at {indexes:?}");
        let (first, nested) = indexes.split_first().ok_or_else(missing)?;
        let mut message = self.file.messages().nth(*first as usize).ok_or_else(missing)?;
        for index in nested {
            let child = message.child_messages().filter(|m| !m.is_map_entry()).nth(*index as usize);
            message = child.ok_or_else(missing)?;
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests;
