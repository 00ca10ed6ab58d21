//! The name of the record that a schema describes.
//!
//! Owns: what Confluent's `RecordNameStrategy` takes for the name in each format.
//! Does not own: which subject the name makes.

use base::SchemaId;
use serde_json::Value;

use super::{Registry, SchemaType};
use crate::{avro, dialect, protobuf};

impl Registry {
    /// The full name of a schema's record: of an Avro type, of the Protobuf message at `indexes`, or the title of a JSON
    /// schema. The error says why there is none.
    pub fn record_name(&self, id: SchemaId, indexes: &[u32]) -> Result<String, String> {
        let resolved = self.resolve(id).map_err(|error| error.to_string())?;
        let text = resolved.schema.schema.as_str();
        match resolved.schema.schema_type {
            SchemaType::Avro => match avro::parse(text)? {
                Value::Object(members) if members.contains_key("name") => Ok(avro::full_name(&members, "").0),
                Value::String(name) => Ok(name),
                _ => Err("its type has no name".into()),
            },
            SchemaType::Json => {
                let document = dialect::parse(text)?;
                let title = document.get("title").and_then(Value::as_str);
                title.map(str::to_owned).ok_or_else(|| "it has no title".into())
            }
            SchemaType::Protobuf => {
                Ok(protobuf::compile(&resolved)?.message_at(indexes)?.full_name().to_owned())
            }
        }
    }
}
