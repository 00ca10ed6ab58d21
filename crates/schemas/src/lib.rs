//! Subjects and schemas; payload bytes to Arrow and back.
//!
//! Owns: the registry (subjects, versions, ids); schema → Arrow types and decoding of Avro, JSON and Protobuf; encoding of JSON.
//! Does not own: offsets, partitions, tables.
//! Invariants: decoding is a function of (bytes, schema): the same bytes under the same schema give the same row.

mod avro;
mod calendar;
pub mod compatibility;
pub mod decode;
mod dialect;
pub mod encode;
mod protobuf;
pub mod registry;
mod validity;
pub mod wire;

pub use compatibility::Compatibility;
pub use decode::{
    ALIASES_KEY as AVRO_ALIASES_KEY, DecodeOptions, Decoded, Decoder, Era, FIELD_KEY as PROTOBUF_FIELD_KEY,
    Inferred, InferredRows, RejectCode, Rejected, SetupError, Shape, protobuf_message,
};
pub use encode::{EncodeError, encode_rows, json_schema_of};
pub use registry::{
    Annotations, ConfigChange, Form, Metadata, Mode, NewSchema, ReferencedSchema, RegisteredSchema,
    Registration, Registry, RegistryError, ResolvedSchema, RuleSet, SchemaReference, SchemaType,
    SubjectConfig, SubjectVersion, Version,
};
pub use validity::check as check_schema;
