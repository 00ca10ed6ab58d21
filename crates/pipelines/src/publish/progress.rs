//! How far a pipeline has come, and what has changed since.
//!
//! Owns: the form of a pipeline's progress in the log; the difference between two results, pure.
//! Does not own: storing it (topics, in the same append as the records).

use std::collections::BTreeMap;

use base::TopicId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// What each run leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunProgress {
    /// Runs so far.
    pub(crate) run: u64,
    /// Hash of what the result depends on besides its inputs.
    pub(crate) query: u64,
    /// What each input table was when the run began.
    pub(crate) inputs: BTreeMap<String, String>,
    /// The life of the topic that the records went to.
    pub(crate) target: Option<TopicId>,
    /// Columns of the key, which the keys of `rows` are made of.
    pub(crate) key: Vec<String>,
    /// Hash of the schema of the result.
    pub(crate) schema: Option<u64>,
    pub(crate) at_ms: i64,
    /// Rows of the result.
    pub(crate) result_rows: u64,
    /// Mode `upsert`: hash of the published row by key.
    pub(crate) rows: BTreeMap<String, u64>,
}

/// A row of a result as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Option<Bytes>,
    /// None: a tombstone.
    pub(crate) value: Option<Bytes>,
}

/// What an upsert has to publish, and what holds after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) records: Vec<Row>,
    pub(crate) rows: BTreeMap<String, u64>,
}

/// Compares a result with what was published. The error is a key that two rows share.
pub(crate) fn changes(published: &BTreeMap<String, u64>, result: Vec<Row>) -> Result<Changes, String> {
    let mut rows = BTreeMap::new();
    let mut records = Vec::new();
    for row in result {
        let key =
            row.key.as_deref().map_or_else(String::new, |key| String::from_utf8_lossy(key).into_owned());
        let hash = xxh3_64(row.value.as_deref().unwrap_or_default());
        if published.get(&key) != Some(&hash) {
            records.push(row);
        }
        if rows.insert(key.clone(), hash).is_some() {
            return Err(key);
        }
    }
    let vanished = published.keys().filter(|key| !rows.contains_key(*key));
    records.extend(vanished.map(|key| Row { key: Some(Bytes::from(key.clone())), value: None }));
    Ok(Changes { records, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str) -> Row {
        Row { key: Some(Bytes::from(key.to_owned())), value: Some(Bytes::from(value.to_owned())) }
    }

    #[test]
    fn only_changes_and_tombstones_are_published() {
        let first = changes(&BTreeMap::new(), vec![row("a", "1"), row("b", "1")]).expect("first");
        assert_eq!(first.records, [row("a", "1"), row("b", "1")]);
        let same = changes(&first.rows, vec![row("b", "1"), row("a", "1")]).expect("same");
        assert_eq!((same.records.len(), &same.rows), (0, &first.rows));
        let next = changes(&first.rows, vec![row("b", "2"), row("c", "1")]).expect("next");
        let tombstone = Row { key: Some(Bytes::from_static(b"a")), value: None };
        assert_eq!(next.records, [row("b", "2"), row("c", "1"), tombstone]);
        assert_eq!(next.rows.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(changes(&first.rows, vec![row("a", "1"), row("a", "2")]), Err("a".into()));
    }
}
