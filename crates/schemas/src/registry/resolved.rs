//! A schema together with everything it refers to.
//!
//! Owns: following references through references.
//! Does not own: what a reference means in each format (`dialect`, `avro`, `protobuf`).
//! Invariants: references come before those who refer to them, each once; a name stands for one schema only. There are
//! no cycles: a schema refers to ids, and an id is given after all that it refers to.

use std::sync::Arc;

use base::SchemaId;

use super::book::Book;
use super::{REFERENCES_MAX, RegisteredSchema, Registry, RegistryError};

/// A schema that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedSchema {
    /// The name by which it is referred to: a `$ref` or an import path, or the full name of an Avro type.
    pub name: String,
    pub schema: Arc<RegisteredSchema>,
}

/// A schema with all that it refers to, references of references included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSchema {
    pub schema: Arc<RegisteredSchema>,
    /// Each after those that it refers to itself.
    pub references: Vec<ReferencedSchema>,
}

impl ResolvedSchema {
    /// A schema that refers to no other.
    pub fn alone(schema: impl Into<Arc<RegisteredSchema>>) -> Self {
        Self { schema: schema.into(), references: Vec::new() }
    }
}

impl Registry {
    /// A schema by its id, with all that it refers to; deleted ones too, since records may have been written with
    /// them.
    pub fn resolve(&self, id: SchemaId) -> Result<ResolvedSchema, RegistryError> {
        self.book(|book| {
            let known = book.known(id).ok_or(RegistryError::SchemaNotFound(id))?;
            resolve(book, known.schema.clone(), &known.referenced)
                .map_err(|reason| RegistryError::InvalidSchema { reason })
        })
    }
}

/// Follows the references of a schema, whose ids are given in their order.
pub(super) fn resolve(
    book: &Book,
    schema: Arc<RegisteredSchema>,
    referenced: &[SchemaId],
) -> Result<ResolvedSchema, String> {
    let mut references = Vec::new();
    follow(book, &schema, referenced, &mut references)?;
    Ok(ResolvedSchema { schema, references })
}

/// Bounded: each level has smaller ids, and every schema but those on the path is one of `REFERENCES_MAX`.
fn follow(
    book: &Book,
    schema: &RegisteredSchema,
    referenced: &[SchemaId],
    found: &mut Vec<ReferencedSchema>,
) -> Result<(), String> {
    for (reference, id) in schema.references.iter().zip(referenced) {
        if let Some(known) = found.iter().find(|f| f.name == reference.name) {
            if known.schema.id == *id {
                continue;
            }
            return Err(format!(
                "the name {} stands for two schemas, {} and {id}: use one version of it throughout",
                reference.name, known.schema.id
            ));
        }
        let known = book
            .known(*id)
            .ok_or_else(|| format!("its reference {} has schema {id}, which is not there", reference.name))?;
        follow(book, &known.schema, &known.referenced, found)?;
        if found.len() >= REFERENCES_MAX {
            return Err(format!("it refers to more than {REFERENCES_MAX} schemas"));
        }
        if !found.iter().any(|f| f.name == reference.name) {
            found.push(ReferencedSchema { name: reference.name.clone(), schema: known.schema.clone() });
        }
    }
    Ok(())
}
