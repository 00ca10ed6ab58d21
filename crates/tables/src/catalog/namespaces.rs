//! Requests about namespaces.

use std::collections::BTreeMap;

use storage::layout::CATALOG;

use super::pointers::{self, NamespaceValue, namespace_key};
use super::{CatalogError, TableIdent, Tables, names};

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
        names::check_namespace(namespace)?;
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
            Ok(tx.put_json(CATALOG, &key, &NamespaceValue { properties })?)
        })?;
        self.changed();
        Ok(())
    }

    /// The tables of a namespace, in order.
    pub fn tables(&self, namespace: &[String]) -> Result<Vec<TableIdent>, CatalogError> {
        self.namespace_properties(namespace)?;
        let found = self.0.deps.control.scan(CATALOG, &pointers::tables_prefix(namespace))?;
        let names = found.iter().filter_map(|(key, _)| pointers::parse_table_key(key));
        Ok(names.map(|name| TableIdent { namespace: namespace.to_vec(), name: name.to_owned() }).collect())
    }
}
