//! What a run would read: when it is the same as last time, the result is too.
//!
//! Owns: the fingerprint of each input table.
//! Does not own: reading them (the run's ReadView, taken after the fingerprint: it may only see more).

use std::collections::BTreeMap;

use queries::relations::Relation;
use tables::{CatalogError, Table, TableIdent};
use xxhash_rust::xxh3::xxh3_64;

use crate::duties::Duties;

/// What a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Commits only.
    Committed,
    /// Everything stable.
    Latest,
}

/// Name of a relation among tables, without `$snapshots` and the like; as an Iceberg identifier.
pub(crate) fn ident_of(duties: &Duties, relation: &Relation) -> TableIdent {
    let name = relation.name.split('$').next().unwrap_or_default();
    match &relation.schema {
        None => duties.deps.tables.ident(name),
        Some(schema) => TableIdent { namespace: vec![schema.clone()], name: name.to_owned() },
    }
}

/// One text per input; equal texts mean that the query would find the same rows.
pub(crate) async fn inputs(
    duties: &Duties,
    relations: &[Relation],
    freshness: Freshness,
) -> Result<BTreeMap<String, String>, CatalogError> {
    let mut inputs = BTreeMap::new();
    for relation in relations {
        let ident = ident_of(duties, relation);
        let name = format!("{}.{}", ident.namespace.join("."), ident.name);
        let text = match duties.deps.tables.load(&ident).await {
            Ok(table) => committed(&table),
            Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => "missing".to_owned(),
            Err(error) => return Err(error),
        };
        let hot = if freshness == Freshness::Latest { marks(duties, &ident) } else { None };
        inputs.insert(name, hot.unwrap_or(text));
    }
    Ok(inputs)
}

/// Data commits change this, maintenance does not.
fn committed(table: &Table) -> String {
    match table.progress() {
        Ok(progress) if !progress.is_empty() => {
            format!("{} progress {:x}", table.uuid(), xxh3_64(tables::progress::encode(&progress).as_bytes()))
        }
        _ => format!("{} snapshot {:?}", table.uuid(), last_change(table)),
    }
}

/// The newest snapshot on main that is no rewrite of the same rows.
fn last_change(table: &Table) -> Option<i64> {
    let snapshots = table.snapshots();
    let mut at = table.current_snapshot_id();
    for _ in 0..snapshots.len() {
        let snapshot = snapshots.iter().find(|s| Some(s.id) == at)?;
        if snapshot.operation != "replace" {
            return Some(snapshot.id);
        }
        at = snapshot.parent;
    }
    at
}

/// Stable marks of the topic behind a table.
fn marks(duties: &Duties, ident: &TableIdent) -> Option<String> {
    let (info, _) = queries::mode::topic_of(&duties.deps.topics, &duties.deps.tables, ident)?;
    let cut = duties.deps.topics.cut();
    let marks: Vec<_> = (0..info.partitions).map(|p| cut.stable(info.id, p).to_string()).collect();
    Some(format!("{} marks {:x}", info.id, xxh3_64(marks.join(" ").as_bytes())))
}
