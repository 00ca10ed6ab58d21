//! Keys and values of the catalog in the control store.
//!
//! Owns: the `CATALOG` space.
//! Invariants: separators of keys are control characters, which names cannot contain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage::layout::CATALOG;
use storage::{ControlError, ControlTx};
use uuid::Uuid;

use super::{CatalogError, TableIdent, Tables};

const LEVEL: &str = "\u{1f}";
const NAME: &str = "\u{1e}";

/// Where a table's current metadata lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pointer {
    pub(super) uuid: Uuid,
    pub(super) metadata_location: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct NamespaceValue {
    pub(super) properties: BTreeMap<String, String>,
}

pub(super) fn namespace_key(namespace: &[String]) -> String {
    format!("n/{}", namespace.join(LEVEL))
}

pub(super) fn tables_prefix(namespace: &[String]) -> String {
    format!("t/{}{NAME}", namespace.join(LEVEL))
}

pub(super) fn table_key(ident: &TableIdent) -> String {
    format!("{}{}", tables_prefix(&ident.namespace), ident.name)
}

pub(super) fn parse_namespace_key(key: &str) -> Option<Vec<String>> {
    key.strip_prefix("n/").map(|levels| levels.split(LEVEL).map(str::to_owned).collect())
}

pub(super) fn parse_table_key(key: &str) -> Option<&str> {
    key.split_once(NAME).map(|(_, name)| name)
}

pub(super) fn get(tx: &ControlTx, ident: &TableIdent) -> Result<Option<Pointer>, ControlError> {
    tx.get_json(CATALOG, &table_key(ident))
}

pub(super) fn put(tx: &mut ControlTx, ident: &TableIdent, pointer: &Pointer) -> Result<(), ControlError> {
    tx.put_json(CATALOG, &table_key(ident), pointer)
}

impl Tables {
    pub(super) fn pointer(&self, ident: &TableIdent) -> Result<Pointer, CatalogError> {
        let found = self.0.deps.control.get_json(CATALOG, &table_key(ident))?;
        found.ok_or_else(|| CatalogError::NoSuchTable(ident.to_string()))
    }
}
