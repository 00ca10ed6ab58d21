//! Requests about namespaces.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use storage::layout::CATALOG;

use super::once::{Noted, Once};
use super::pointers::{self, NamespaceValue, namespace_key};
use super::protection::check_properties;
use super::{CatalogError, TableIdent, Tables, names};

/// What became of a change of properties.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NamespaceChange {
    pub updated: Vec<String>,
    pub removed: Vec<String>,
    /// Was to be removed and was not there.
    pub missing: Vec<String>,
}

impl Tables {
    /// All namespaces, in order.
    pub fn namespaces(&self) -> Result<Vec<Vec<String>>, CatalogError> {
        let found = self.0.deps.control.scan(CATALOG, "n/")?;
        Ok(found.iter().filter_map(|(key, _)| pointers::parse_namespace_key(key)).collect())
    }

    /// The properties of a namespace; `NoSuchNamespace` when it does not exist.
    pub fn namespace_properties(
        &self,
        namespace: &[String],
    ) -> Result<BTreeMap<String, String>, CatalogError> {
        let found: Option<NamespaceValue> =
            self.0.deps.control.get_json(CATALOG, &namespace_key(namespace))?;
        found.map(|v| v.properties).ok_or_else(|| CatalogError::NoSuchNamespace(namespace.join(".")))
    }

    /// Blocks for about as long as an fsync takes.
    pub fn create_namespace(
        &self,
        namespace: &[String],
        properties: BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        self.create_namespace_once(namespace, properties, &Once::default())
    }

    /// The same as a request that is carried out once.
    pub fn create_namespace_once(
        &self,
        namespace: &[String],
        properties: BTreeMap<String, String>,
        once: &Once,
    ) -> Result<(), CatalogError> {
        names::check_namespace(namespace)?;
        check_properties(&properties)?;
        let now = self.now_ms();
        let key = namespace_key(namespace);
        let exists = || CatalogError::NamespaceExists(namespace.join("."));
        // A look before the write spares every start an fsync.
        if self.0.deps.control.get(CATALOG, &key)?.is_some() {
            return Err(exists());
        }
        self.0.deps.control.transact(|tx| {
            if tx.get(CATALOG, &key)?.is_some() {
                return Err(exists());
            }
            let answer = json!({"namespace": namespace, "properties": &properties});
            once.note(tx, now, Noted::Answer(answer))?;
            Ok(tx.put_json(CATALOG, &key, &NamespaceValue { properties })?)
        })?;
        self.changed();
        Ok(())
    }

    /// Sets and removes properties of a namespace. Blocks for about as long as an fsync takes.
    pub fn update_namespace(
        &self,
        namespace: &[String],
        removals: &[String],
        updates: &BTreeMap<String, String>,
        once: &Once,
    ) -> Result<NamespaceChange, CatalogError> {
        check_properties(updates)?;
        if let Some(key) = removals.iter().find(|key| updates.contains_key(*key)) {
            return Err(CatalogError::Unprocessable(format!(
                "property {key} is to be set and to be removed"
            )));
        }
        let (key, now) = (namespace_key(namespace), self.now_ms());
        let change = self.0.deps.control.transact(|tx| {
            let found: Option<NamespaceValue> = tx.get_json(CATALOG, &key)?;
            let mut value = found.ok_or_else(|| CatalogError::NoSuchNamespace(namespace.join(".")))?;
            let mut change = NamespaceChange::default();
            for key in removals {
                match value.properties.remove(key) {
                    Some(_) => change.removed.push(key.clone()),
                    None => change.missing.push(key.clone()),
                }
            }
            value.properties.extend(updates.clone());
            check_properties(&value.properties)?;
            change.updated.extend(updates.keys().cloned());
            once.note(tx, now, Noted::Answer(json!(change)))?;
            tx.put_json(CATALOG, &key, &value)?;
            Ok::<_, CatalogError>(change)
        })?;
        self.changed();
        Ok(change)
    }

    /// Forgets an empty namespace. Blocks for about as long as an fsync takes.
    pub fn drop_namespace(&self, namespace: &[String], once: &Once) -> Result<(), CatalogError> {
        if namespace == [self.settings().default_namespace.clone()] {
            let why = format!("namespace {} is where tables of topics are made", namespace.join("."));
            return Err(CatalogError::Forbidden(why));
        }
        let now = self.now_ms();
        self.0.deps.control.transact(|tx| {
            if tx.get(CATALOG, &namespace_key(namespace))?.is_none() {
                return Err(CatalogError::NoSuchNamespace(namespace.join(".")));
            }
            let inside = [
                pointers::tables_prefix(namespace),
                pointers::views_prefix(namespace),
                pointers::below("n/", namespace),
            ];
            for prefix in inside {
                if !tx.scan(CATALOG, &prefix)?.is_empty() {
                    return Err(CatalogError::NamespaceNotEmpty(namespace.join(".")));
                }
            }
            once.note(tx, now, Noted::Done)?;
            tx.delete(CATALOG, &namespace_key(namespace))?;
            Ok(())
        })?;
        self.changed();
        Ok(())
    }

    /// The views of a namespace, in order.
    pub fn views(&self, namespace: &[String]) -> Result<Vec<TableIdent>, CatalogError> {
        self.namespace_properties(namespace)?;
        let found = self.0.deps.control.scan(CATALOG, &pointers::views_prefix(namespace))?;
        let names = found.iter().filter_map(|(key, _)| pointers::parse_table_key(key));
        Ok(names.map(|name| TableIdent { namespace: namespace.to_vec(), name: name.to_owned() }).collect())
    }

    /// The tables of a namespace, in order.
    pub fn tables(&self, namespace: &[String]) -> Result<Vec<TableIdent>, CatalogError> {
        self.namespace_properties(namespace)?;
        let found = self.0.deps.control.scan(CATALOG, &pointers::tables_prefix(namespace))?;
        let names = found.iter().filter_map(|(key, _)| pointers::parse_table_key(key));
        Ok(names.map(|name| TableIdent { namespace: namespace.to_vec(), name: name.to_owned() }).collect())
    }
}
