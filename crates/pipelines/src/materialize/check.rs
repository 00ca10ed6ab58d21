//! Whether a topic's table could take its columns: asked before the topic is created or changed.
//!
//! Owns: the question.
//! Does not own: the columns a topic would have (queries/rows), the rules of evolution (tables).

use arrow::datatypes::SchemaRef;
use queries::mode::{IcebergTopic, Section, Side};
use queries::{RowsError, TopicRows};
use tables::CatalogError;
use topics::TopicInfo;

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::switches;

/// Refuses a topic whose table is there already with columns that do not fit its mode.
pub(crate) async fn check_topic(duties: &Duties, info: &TopicInfo) -> Result<(), CommandError> {
    let Some(settings) = IcebergTopic::of(info).map_err(CommandError::Invalid)? else { return Ok(()) };
    let ident = settings.table(&duties.deps.tables);
    let table = match duties.deps.tables.load(&ident).await {
        Ok(table) => table,
        Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Some(columns) = columns(duties, info, &settings).await? else { return Ok(()) };
    let name = &info.name;
    table.accepts(&columns).map_err(|error| {
        CommandError::Conflict(format!(
            "topic {name} cannot be table {ident}, which exists: {}",
            base::fault::chain(&error)
        ))
    })
}

/// Refuses a topic whose table could not be partitioned as it says, as far as its columns are known.
pub(crate) async fn check_partitioning(duties: &Duties, info: &TopicInfo) -> Result<(), CommandError> {
    let Some(settings) = IcebergTopic::of(info).map_err(CommandError::Invalid)? else { return Ok(()) };
    if matches!(settings.mode.section(Side::Value), Section::JsonInfer | Section::SchemaIdPrefix) {
        // Records are still to say which columns there are.
        return Ok(());
    }
    let Ok(Some(columns)) = columns(duties, info, &settings).await else { return Ok(()) };
    let text = settings.partitioning(&duties.deps.tables);
    tables::partitioning::accepts(text, &columns).map_err(|error| {
        CommandError::Invalid(format!(
            "`{text}` is no value of redpanda.iceberg.partition.spec for topic {}: {}",
            info.name,
            base::fault::chain(&error)
        ))
    })
}

/// The columns that the topic's table would have; none as long as they are not known.
async fn columns(
    duties: &Duties,
    info: &TopicInfo,
    settings: &IcebergTopic,
) -> Result<Option<SchemaRef>, CommandError> {
    let stored = switches::imagined(duties, info, settings)
        .await
        .map_err(|trouble| trouble.answer(info.name.as_str()))?;
    let (registry, info) = (duties.deps.registry.clone(), info.clone());
    let columns = duties
        .blocking(move || Ok::<_, CommandError>(TopicRows::columns_of(&registry, &info, &stored)))
        .await?;
    match columns {
        Ok(columns) => Ok(Some(columns)),
        // They come with the schema.
        Err(RowsError::NotReady(_)) => Ok(None),
        Err(error) => Err(CommandError::Conflict(error.to_string())),
    }
}
