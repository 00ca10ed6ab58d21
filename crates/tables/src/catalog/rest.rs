//! Request bodies of the Iceberg REST specification, as far as they hold Iceberg's own types.
//!
//! Owns: their form.
//! Does not own: paths, answers, errors (gateway); what a request does (`guests`, `views`).

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{Schema, SortOrder, UnboundPartitionSpec, ViewVersion};
use iceberg::{TableRequirement, TableUpdate, ViewUpdate};
use serde::Deserialize;
use uuid::Uuid;

use super::TableIdent;

/// `CreateTableRequest`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CreateTable {
    pub name: String,
    #[serde(default)]
    pub location: Option<String>,
    pub schema: Schema,
    #[serde(default)]
    pub partition_spec: Option<UnboundPartitionSpec>,
    #[serde(default)]
    pub write_order: Option<SortOrder>,
    /// Only works out the metadata: the table is made by a later commit.
    #[serde(default)]
    pub stage_create: Option<bool>,
    #[serde(default)]
    pub properties: Option<HashMap<String, String>>,
}

/// `CommitTableRequest`.
#[derive(Debug, Clone, Deserialize)]
pub struct CommitTable {
    /// Has to be there in a transaction, and to agree with the path elsewhere.
    #[serde(default)]
    pub identifier: Option<TableIdent>,
    #[serde(default)]
    pub requirements: Vec<TableRequirement>,
    #[serde(default)]
    pub updates: Vec<TableUpdate>,
}

/// `CommitTransactionRequest`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommitTransaction {
    pub table_changes: Vec<CommitTable>,
}

/// `RegisterTableRequest`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegisterTable {
    pub name: String,
    pub metadata_location: String,
    #[serde(default)]
    pub overwrite: bool,
}

/// `CreateViewRequest`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CreateView {
    pub name: String,
    #[serde(default)]
    pub location: Option<String>,
    pub schema: Schema,
    pub view_version: ViewVersion,
    #[serde(default)]
    pub properties: Option<HashMap<String, String>>,
}

/// `CommitViewRequest`.
#[derive(Debug, Clone, Deserialize)]
pub struct CommitView {
    #[serde(default)]
    pub identifier: Option<TableIdent>,
    #[serde(default)]
    pub requirements: Vec<ViewRequirement>,
    pub updates: Vec<ViewUpdate>,
}

/// `ViewRequirement`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type")]
pub enum ViewRequirement {
    #[serde(rename = "assert-view-uuid")]
    UuidMatch { uuid: Uuid },
}

/// `RenameTableRequest`, for views too.
#[derive(Debug, Clone, Deserialize)]
pub struct Rename {
    pub source: TableIdent,
    pub destination: TableIdent,
}

/// `CreateNamespaceRequest`.
#[derive(Debug, Clone, Deserialize)]
pub struct CreateNamespace {
    pub namespace: Vec<String>,
    #[serde(default)]
    pub properties: Option<BTreeMap<String, String>>,
}

/// `UpdateNamespacePropertiesRequest`.
#[derive(Debug, Clone, Deserialize)]
pub struct UpdateNamespace {
    #[serde(default)]
    pub removals: Option<Vec<String>>,
    #[serde(default)]
    pub updates: Option<BTreeMap<String, String>>,
}
