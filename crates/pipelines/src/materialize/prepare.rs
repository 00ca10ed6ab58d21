//! A topic made ready to be a table: what its rows depend on is stored, its columns are known, its table is there.
//!
//! Owns: the order of these steps; finding the first schema that records bear, or the columns that a table is partitioned
//! by; creating and evolving tables.
//! Does not own: decoding (queries/rows), the rules of evolution (tables), what is stored (`switches`).
//! Invariants: a table is never made before its columns are known; a table that cannot take them stops with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use base::Offset;
use base::fault::chain;
use bytes::Bytes;
use queries::mode::{IcebergTopic, Section};
use queries::{SchemaSwitches, TopicRows};
use tables::{CatalogError, CommitError, NewTable, Table, TableIdent};
use topics::TopicInfo;

use crate::duties::Duties;
use crate::materialize::link::State;
use crate::materialize::switches;
use crate::materialize::trouble::Trouble;

/// A topic that is ready.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What is stored, verbatim: when it differs later, look again.
    pub(crate) stored: Option<Bytes>,
    pub(crate) switches: SchemaSwitches,
    pub(crate) rows: TopicRows,
    pub(crate) table: Table,
}

/// Makes a topic ready. Idempotent.
pub(crate) async fn prepare(duties: &Duties, info: &Arc<TopicInfo>) -> Result<Prepared, Trouble> {
    let settings = IcebergTopic::of(info).map_err(Trouble::Failed)?.ok_or(Trouble::Gone)?;
    switches::follow(duties, info, &settings).await?;
    let mut rows = switches::topic_rows(duties, info).await?;
    if settings.mode.value == Section::SchemaIdPrefix && rows.has_no_fields() {
        let found = search(duties, info, &rows).await?;
        found.map_err(|records| Trouble::Waiting(waits_for_ids(info, records)))?;
        rows = switches::topic_rows(duties, info).await?;
    }
    let tables = &duties.deps.tables;
    let (ident, partitioning) = (settings.table(tables), settings.partitioning(tables));
    let table = loop {
        let why = match ensure_table(duties, &ident, rows.columns(), partitioning).await {
            Err(Trouble::Stopped(_, why)) if settings.mode.value == Section::JsonInfer => why,
            made => break made?,
        };
        if exists(duties, &ident).await? {
            return Err(Trouble::Stopped(State::Paused, why));
        }
        // A column that the table is to be partitioned by may be in a record.
        if let Err(records) = search(duties, info, &rows).await? {
            let why = format!("{why}; {records} offsets were looked through for it");
            return Err(Trouble::Waiting(why));
        }
        rows = switches::topic_rows(duties, info).await?;
    };
    let stored = switches::stored(duties, info);
    let switches = switches::parse(info, stored.as_ref())?;
    Ok(Prepared { stored, switches, rows, table })
}

async fn exists(duties: &Duties, ident: &TableIdent) -> Result<bool, Trouble> {
    match duties.deps.tables.load(ident).await {
        Ok(_) => Ok(true),
        Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Looks through the log for a record whose schema is in the registry, or has fields without a column, and stores what
/// it finds. As long as there is none, the producers are not what the topic's mode expects, or there are none yet:
/// nothing is rejected for that. Otherwise how many offsets were looked through.
async fn search(duties: &Duties, info: &TopicInfo, rows: &TopicRows) -> Result<Result<(), Offset>, Trouble> {
    let registered = *duties.deps.registry.watch().borrow();
    let link = duties.table_link(info.id);
    // What was looked through before does not change, unless schemas have come since.
    let mut known = BTreeMap::new();
    if let Some(link) = &link {
        let searched = link.searched.lock();
        if searched.registered == registered {
            known.clone_from(&searched.to);
        }
    }
    let (mut searched, mut records) = (known, 0);
    for index in 0..info.partitions {
        let Some(partition) = duties.deps.topics.partition(info.name.as_str(), index) else { continue };
        let mut from = searched.get(&index).copied().unwrap_or(0).max(partition.marks().log_start);
        let end = partition.cut_mark();
        while from < end {
            let (rows, bytes) = (rows.clone(), duties.settings.chunk_bytes);
            let decode = move || rows.decode(index, from, end, bytes);
            let decoded = duties.deps.compute.spawn_blocking(decode).await??;
            if !decoded.unseen.is_empty() {
                // There is no table: what is found holds from the beginning.
                return switches::note(duties, info, &decoded.unseen, &BTreeMap::new()).await.map(Ok);
            }
            if decoded.next <= from {
                break;
            }
            from = decoded.next;
        }
        searched.insert(index, from);
        records += from - partition.marks().log_start;
    }
    if let Some(link) = link {
        *link.searched.lock() = crate::materialize::link::Searched { registered, to: searched };
    }
    Ok(Err(records))
}

fn waits_for_ids(info: &TopicInfo, records: Offset) -> String {
    let name = &info.name;
    let found = if records == 0 {
        "has no records yet".to_owned()
    } else {
        format!("has {records} offsets and none with the id of a schema that is in the registry")
    };
    format!(
        "topic {name} {found}: with redpanda.iceberg.mode=value_schema_id_prefix producers write the schema's id in front \
         of each value, as Confluent's serializers do; register a schema under subject {name}-value, or choose \
         value_schema_latest for values without an id"
    )
}

/// The table with at least these columns, made or evolved when needed.
pub(crate) async fn ensure_table(
    duties: &Duties,
    ident: &TableIdent,
    columns: &SchemaRef,
    partition_by: &str,
) -> Result<Table, Trouble> {
    let tables = &duties.deps.tables;
    match tables.load(ident).await {
        Ok(_) => {
            let table = evolved(duties, ident, columns).await?;
            // A stop between the topic's change and the table's is made good here.
            let noted = table.partition_spec_text().is_some_and(|noted| noted != partition_by);
            return Ok(if noted { tables.set_partition_spec(ident, partition_by).await? } else { table });
        }
        Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let (catalog, namespace) = (tables.clone(), ident.namespace.clone());
    let made = move || catalog.create_namespace(&namespace, BTreeMap::new());
    match duties.deps.compute.spawn_blocking(made).await? {
        Ok(()) | Err(CatalogError::NamespaceExists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let new = NewTable {
        schema: Arc::clone(columns),
        partition_by: partition_by.to_owned(),
        properties: BTreeMap::new(),
    };
    match tables.create(ident, new).await {
        Ok(table) => Ok(table),
        Err(CatalogError::TableExists(_)) => evolved(duties, ident, columns).await,
        Err(error @ CatalogError::Invalid(_)) => {
            Err(Trouble::Stopped(State::Paused, format!("table {ident} cannot be made: {}", chain(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

async fn evolved(duties: &Duties, ident: &TableIdent, columns: &SchemaRef) -> Result<Table, Trouble> {
    match duties.deps.tables.evolve(ident, columns).await {
        Err(error @ CommitError::Invalid(_)) => Err(Trouble::Stopped(
            State::Paused,
            format!(
                "table {ident} exists and cannot take the topic's columns: {}. Choose another table with frazil.table.name, \
                 change the table's column, or drop the table",
                chain(&error)
            ),
        )),
        other => Ok(other?),
    }
}
