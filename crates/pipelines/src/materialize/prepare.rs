//! A topic made ready to be a table: its schema switch stored, its columns known, its table there.
//!
//! Owns: storing switches of schema; creating and widening tables.
//! Does not own: decoding (queries/rows), the rules of widening (tables).
//! Invariants: a switch is durable before any record is read with its schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use base::{ErrorKind, Fault, SchemaId};
use bytes::Bytes;
use queries::mode::{IcebergMode, IcebergTopic};
use queries::rows::SchemaSwitch;
use queries::{SchemaSwitches, TopicRows};
use schemas::Version;
use tables::{CatalogError, NewTable, Table, TableIdent};
use topics::{AtomicAppend, TopicInfo};

use crate::duties::Duties;
use crate::materialize::trouble::Trouble;

/// A topic that is ready.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The stored switches, verbatim: when they differ later, look again.
    pub(crate) stored: Option<Bytes>,
    pub(crate) switches: SchemaSwitches,
    pub(crate) rows: TopicRows,
    pub(crate) table: Table,
}

/// Makes a topic ready. Idempotent.
pub(crate) async fn prepare(duties: &Duties, info: &Arc<TopicInfo>) -> Result<Prepared, Trouble> {
    let settings = IcebergTopic::of(info).map_err(Trouble::Failed)?.ok_or(Trouble::Gone)?;
    if let IcebergMode::ValueSchemaLatest { subject } = &settings.mode {
        follow(duties, info, subject).await?;
    }
    let stored = stored_switches(duties, info);
    let switches = parse_switches(info, stored.as_ref())?;
    let rows = topic_rows(duties, info).await?;
    let ident = duties.deps.tables.ident(info.name.as_str());
    let table = ensure_table(duties, &ident, rows.columns(), &settings.partition_by).await?;
    Ok(Prepared { stored, switches, rows, table })
}

async fn topic_rows(duties: &Duties, info: &Arc<TopicInfo>) -> Result<TopicRows, Trouble> {
    let (topics, registry, info) =
        (duties.deps.topics.clone(), duties.deps.registry.clone(), Arc::clone(info));
    let made = duties.deps.compute.spawn_blocking(move || TopicRows::new(&topics, &registry, info)).await?;
    Ok(made?)
}

/// The switches of a topic as they lie in the log.
pub(crate) fn stored_switches(duties: &Duties, info: &TopicInfo) -> Option<Bytes> {
    duties.deps.topics.progress(&TopicRows::switches_writer(info.id)).and_then(|progress| progress.value)
}

fn parse_switches(info: &TopicInfo, stored: Option<&Bytes>) -> Result<SchemaSwitches, Trouble> {
    let Some(stored) = stored else { return Ok(SchemaSwitches::default()) };
    serde_json::from_slice(stored).map_err(|e| {
        Trouble::Failed(format!("the stored schema switches of topic {} do not parse: {e}", info.name))
    })
}

/// Switches a topic to the latest schema of its subject, unless it reads with it already.
async fn follow(duties: &Duties, info: &Arc<TopicInfo>, subject: &str) -> Result<(), Trouble> {
    let switches = parse_switches(info, stored_switches(duties, info).as_ref())?;
    let current = switches.switches.last().map(|switch| switch.schema_id);
    let (registry, name) = (duties.deps.registry.clone(), subject.to_owned());
    let looked_up =
        duties.deps.compute.spawn_blocking(move || registry.version(&name, Version::Latest)).await?;
    let latest = match looked_up {
        Ok(found) => found.schema.id,
        Err(error) if error.kind() == ErrorKind::Unavailable => return Err(Trouble::failed(&error)),
        Err(_) if current.is_some() => return Ok(()),
        Err(_) => {
            return Err(Trouble::Waiting(format!(
                "topic {} waits for a schema: register one under subject {subject}",
                info.name
            )));
        }
    };
    if current != Some(latest) {
        switch_to(duties, info, latest).await?;
    }
    Ok(())
}

/// Stores that a topic's records have schema `id` from its present end on (the first schema: from the beginning).
pub(crate) async fn switch_to(duties: &Duties, info: &TopicInfo, id: SchemaId) -> Result<(), Trouble> {
    let topics = &duties.deps.topics;
    let writer = TopicRows::switches_writer(info.id);
    let _gate = duties.schema_gate.lock().await;
    let claimed = topics.claim_writer(&writer).await?;
    let mut switches = parse_switches(info, claimed.value.as_ref())?;
    if switches.switches.last().is_some_and(|switch| switch.schema_id == id) {
        return Ok(());
    }
    if switches.switches.len() >= duties.settings.switches_max {
        return Err(Trouble::Failed(format!(
            "topic {} has switched its schema {} times, which is the limit; start a new topic",
            info.name,
            switches.switches.len()
        )));
    }
    let first = switches.switches.is_empty();
    let mut starts = BTreeMap::new();
    for index in 0..info.partitions {
        let appended = topics.partition(info.name.as_str(), index).map_or(0, |p| p.marks().appended);
        starts.insert(index, if first { 0 } else { appended });
    }
    switches.switches.push(SchemaSwitch { schema_id: id, starts });
    let progress = serde_json::to_vec(&switches).map_err(|e| Trouble::failed(&e))?;
    let append =
        AtomicAppend { writer, epoch: claimed.epoch, batches: Vec::new(), progress: Bytes::from(progress) };
    topics.append_atomically(append).await?;
    tracing::info!(topic = %info.name, schema = id, "the topic's schema has switched");
    Ok(())
}

/// The table with at least these columns, made or widened when needed.
pub(crate) async fn ensure_table(
    duties: &Duties,
    ident: &TableIdent,
    columns: &SchemaRef,
    partition_by: &str,
) -> Result<Table, Trouble> {
    let tables = &duties.deps.tables;
    match tables.load(ident).await {
        Ok(_) => {
            let table = tables.evolve(ident, columns).await?;
            // A stop between the topic's change and the table's is made good here.
            let noted = table.partition_spec_text().is_some_and(|noted| noted != partition_by);
            return Ok(if noted { tables.set_partition_spec(ident, partition_by).await? } else { table });
        }
        Err(CatalogError::NoSuchTable(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let new = NewTable {
        schema: Arc::clone(columns),
        partition_by: partition_by.to_owned(),
        properties: BTreeMap::new(),
    };
    match tables.create(ident, new).await {
        Ok(table) => Ok(table),
        Err(CatalogError::TableExists(_)) => Ok(tables.evolve(ident, columns).await?),
        Err(error) => Err(error.into()),
    }
}
