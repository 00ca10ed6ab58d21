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
    /// The directory, where it is not told by the place of the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) directory: Option<String>,
}

impl Pointer {
    /// Points to metadata of something that lies at `location`.
    pub(super) fn new(uuid: Uuid, metadata_location: String, location: &str) -> Self {
        let mut pointer = Self { uuid, metadata_location, directory: None };
        if pointer.location() != location {
            pointer.directory = Some(location.to_owned());
        }
        pointer
    }

    /// The directory of what is pointed to.
    pub(super) fn location(&self) -> &str {
        let told = self.metadata_location.rsplit_once("/metadata/").map(|(location, _)| location);
        self.directory.as_deref().or(told).unwrap_or(&self.metadata_location)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct NamespaceValue {
    pub(super) properties: BTreeMap<String, String>,
}

/// Begin the keys of tables and of views.
pub(super) const TABLES: &str = "t/";
pub(super) const VIEWS: &str = "v/";

pub(super) fn namespace_key(namespace: &[String]) -> String {
    format!("n/{}", namespace.join(LEVEL))
}

pub(super) fn tables_prefix(namespace: &[String]) -> String {
    format!("{TABLES}{}{NAME}", namespace.join(LEVEL))
}

pub(super) fn views_prefix(namespace: &[String]) -> String {
    format!("{VIEWS}{}{NAME}", namespace.join(LEVEL))
}

pub(super) fn view_key(ident: &TableIdent) -> String {
    format!("{}{}", views_prefix(&ident.namespace), ident.name)
}

/// The begin of the keys of everything in namespaces below.
pub(super) fn below(space: &str, namespace: &[String]) -> String {
    format!("{space}{}{LEVEL}", namespace.join(LEVEL))
}

/// The name in a key, for people.
pub(super) fn shown(key: &str) -> String {
    let name = key.split_once('/').map_or(key, |(_, name)| name);
    name.replace(LEVEL, ".").replace(NAME, ".")
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

pub(super) fn get_at(tx: &ControlTx, key: &str) -> Result<Option<Pointer>, ControlError> {
    tx.get_json(CATALOG, key)
}

pub(super) fn put(tx: &mut ControlTx, ident: &TableIdent, pointer: &Pointer) -> Result<(), ControlError> {
    tx.put_json(CATALOG, &table_key(ident), pointer)
}

/// Refuses a name that something has, or whose namespace does not exist.
pub(super) fn check_free(tx: &ControlTx, ident: &TableIdent) -> Result<(), CatalogError> {
    if tx.get(CATALOG, &namespace_key(&ident.namespace))?.is_none() {
        return Err(CatalogError::NoSuchNamespace(ident.namespace.join(".")));
    }
    if tx.get(CATALOG, &table_key(ident))?.is_some() {
        return Err(CatalogError::TableExists(ident.to_string()));
    }
    if tx.get(CATALOG, &view_key(ident))?.is_some() {
        return Err(CatalogError::NameTaken("View", ident.to_string()));
    }
    Ok(())
}

/// Refuses a new name that something has.
pub(super) fn check_target(tx: &ControlTx, from: &TableIdent, to: &TableIdent) -> Result<(), CatalogError> {
    match check_free(tx, to) {
        Err(CatalogError::TableExists(_)) => {
            Err(CatalogError::RenameTaken(from.to_string(), to.to_string(), "Table"))
        }
        Err(CatalogError::NameTaken(..)) => {
            Err(CatalogError::RenameTaken(from.to_string(), to.to_string(), "View"))
        }
        other => other,
    }
}

impl Tables {
    pub(super) fn view_pointer(&self, ident: &TableIdent) -> Result<Pointer, CatalogError> {
        let found = self.0.deps.control.get_json(CATALOG, &view_key(ident))?;
        found.ok_or_else(|| CatalogError::NoSuchView(ident.to_string()))
    }

    pub(super) fn pointer(&self, ident: &TableIdent) -> Result<Pointer, CatalogError> {
        let found = self.0.deps.control.get_json(CATALOG, &table_key(ident))?;
        found.ok_or_else(|| CatalogError::NoSuchTable(ident.to_string()))
    }
}
