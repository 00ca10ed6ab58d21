//! Whether a topic's table could take its columns: asked before the topic is created or changed.
//!
//! Owns: the question.
//! Does not own: the columns a topic would have (queries/rows), the rules of evolution (tables).

use queries::mode::IcebergTopic;
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
    let stored = switches::imagined(duties, info, &settings)
        .await
        .map_err(|trouble| trouble.answer(info.name.as_str()))?;
    let (registry, info) = (duties.deps.registry.clone(), info.clone());
    let name = info.name.clone();
    let columns = duties
        .blocking(move || Ok::<_, CommandError>(TopicRows::columns_of(&registry, &info, &stored)))
        .await?;
    let columns = match columns {
        Ok(columns) => columns,
        // They come with the schema.
        Err(RowsError::NotReady(_)) => return Ok(()),
        Err(error) => return Err(CommandError::Conflict(error.to_string())),
    };
    table.accepts(&columns).map_err(|error| {
        CommandError::Conflict(format!(
            "topic {name} cannot be table {ident}, which exists: {}",
            base::fault::chain(&error)
        ))
    })
}
