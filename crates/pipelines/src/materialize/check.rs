//! Whether a table could take a schema: asked before anything is registered or changed.
//!
//! Owns: the columns a topic would have.
//! Does not own: the rules of widening (tables), types of a schema (schemas).

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use queries::TopicRows;
use queries::mode::{IcebergMode, IcebergTopic};
use schemas::{DecodeOptions, Decoder, NewSchema, ResolvedSchema, Version};
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
    let (registry, schema) = (duties.deps.registry.clone(), schema.clone());
    let candidate = duties.blocking(move || registry.candidate(schema)).await?;
    fits(duties, info, candidate).await
}

/// Refuses a topic whose table is there already with columns that do not fit its mode.
pub(crate) async fn check_topic(duties: &Duties, info: &TopicInfo) -> Result<(), CommandError> {
    let Some(settings) = IcebergTopic::of(info).map_err(CommandError::Invalid)? else { return Ok(()) };
    let IcebergMode::ValueSchemaLatest { subject } = settings.mode else { return Ok(()) };
    let registry = duties.deps.registry.clone();
    let latest = duties
        .blocking(move || match registry.version(&subject, Version::Latest) {
            Ok(latest) => registry.resolve(latest.schema.id).map(Some).map_err(CommandError::from),
            Err(_) => Ok(None),
        })
        .await?;
    match latest {
        Some(latest) => fits(duties, info, latest).await,
        None => Ok(()),
    }
}

async fn fits(duties: &Duties, info: &TopicInfo, schema: ResolvedSchema) -> Result<(), CommandError> {
    let compile =
        move || Decoder::new(&schema, &DecodeOptions::default()).map(|decoder| Arc::clone(decoder.columns()));
    let columns = duties.blocking(compile).await?;
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
