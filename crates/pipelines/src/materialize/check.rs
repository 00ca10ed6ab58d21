//! Whether a table could take a schema: asked before anything is registered or changed.
//!
//! Owns: the columns a topic would have.
//! Does not own: the rules of widening (tables), types of a schema (schemas).

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use queries::TopicRows;
use queries::mode::{IcebergMode, IcebergTopic};
use schemas::{Decoder, NewSchema, RegisteredSchema, SchemaType, Version};
use tables::CatalogError;
use topics::TopicInfo;

use crate::commands::CommandError;
use crate::duties::Duties;

/// Refuses a schema that the table of `info` cannot take.
pub(crate) async fn check_schema(
    duties: &Duties,
    info: &TopicInfo,
    schema: &NewSchema,
) -> Result<(), CommandError> {
    if schema.schema_type != SchemaType::Json {
        return Err(CommandError::Invalid(format!(
            "topic {} is a table that follows this subject, and only JSON schemas become tables: register a JSON schema",
            info.name
        )));
    }
    let candidate = RegisteredSchema {
        // The id is only known once it is registered; it appears in messages alone.
        id: 0,
        schema_type: schema.schema_type,
        schema: schema.schema.clone(),
        references: schema.references.clone(),
    };
    fits(duties, info, candidate).await
}

/// Refuses a topic whose table is there already with columns that do not fit its mode.
pub(crate) async fn check_topic(duties: &Duties, info: &TopicInfo) -> Result<(), CommandError> {
    let Some(settings) = IcebergTopic::of(info).map_err(CommandError::Invalid)? else { return Ok(()) };
    let IcebergMode::ValueSchemaLatest { subject } = settings.mode else { return Ok(()) };
    let registry = duties.deps.registry.clone();
    let latest = duties
        .blocking(move || Ok::<_, CommandError>(registry.version(&subject, Version::Latest).ok()))
        .await?;
    match latest {
        Some(latest) => fits(duties, info, RegisteredSchema::clone(&latest.schema)).await,
        None => Ok(()),
    }
}

async fn fits(duties: &Duties, info: &TopicInfo, schema: RegisteredSchema) -> Result<(), CommandError> {
    let columns =
        duties.blocking(move || Decoder::new(&schema).map(|decoder| Arc::clone(decoder.columns()))).await?;
    let ident = duties.deps.tables.ident(info.name.as_str());
    let table = match duties.deps.tables.load(&ident).await {
        Ok(table) => table,
        Err(CatalogError::NoSuchTable(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    table.accepts(&with_metadata_column(&columns)).map_err(|error| {
        CommandError::Conflict(format!(
            "the schema does not fit table {}, which topic {} fills: {}",
            ident.name,
            info.name,
            base::fault::chain(&error)
        ))
    })
}

/// Columns as the table has them: `redpanda` first.
fn with_metadata_column(columns: &SchemaRef) -> Schema {
    let dead = TopicRows::dead_letter_columns();
    let metadata: Option<FieldRef> = dead.fields().first().cloned();
    let own = columns.fields().iter().filter(|f| metadata.as_ref().is_none_or(|m| m.name() != f.name()));
    Schema::new(metadata.iter().chain(own).cloned().collect::<Vec<_>>())
}
