//! Principals, roles and grants as Polaris shows them.

use std::collections::{BTreeMap, BTreeSet};

use access::catalog::{CATALOG, CatalogRole, GrantOn, Principal, PrincipalRole};
use serde_json::{Value, json};

fn entity(name: &str, properties: &BTreeMap<String, String>, created_ms: i64, version: u32) -> Value {
    json!({
        "name": name,
        "properties": properties,
        "createTimestamp": created_ms,
        "lastUpdateTimestamp": created_ms,
        "entityVersion": version,
    })
}

fn show_principal(name: &str, principal: &Principal) -> Value {
    let mut shown = entity(name, &principal.properties, principal.created_ms, principal.version);
    shown["clientId"] = principal.client_id.clone().into();
    shown
}

pub(super) fn principal(all: &BTreeMap<String, Principal>, name: &str) -> Option<Value> {
    all.get(name).map(|principal| show_principal(name, principal))
}

pub(super) fn principals(all: &BTreeMap<String, Principal>) -> Vec<Value> {
    all.iter().map(|(name, principal)| show_principal(name, principal)).collect()
}

pub(super) fn principal_role(all: &BTreeMap<String, PrincipalRole>, name: &str) -> Option<Value> {
    all.get(name).map(|role| entity(name, &role.properties, role.created_ms, role.version))
}

/// Those of `only`, or all.
pub(super) fn principal_roles(
    all: &BTreeMap<String, PrincipalRole>,
    only: Option<&BTreeSet<String>>,
) -> Vec<Value> {
    let wanted = all.keys().filter(|name| only.is_none_or(|only| only.contains(*name)));
    wanted.filter_map(|name| principal_role(all, name)).collect()
}

pub(super) fn catalog_role(all: &BTreeMap<String, CatalogRole>, name: &str) -> Option<Value> {
    all.get(name).map(|role| entity(name, &role.properties, role.created_ms, role.version))
}

pub(super) fn catalog_roles(
    all: &BTreeMap<String, CatalogRole>,
    only: Option<&BTreeSet<String>>,
) -> Vec<Value> {
    let wanted = all.keys().filter(|name| only.is_none_or(|only| only.contains(*name)));
    wanted.filter_map(|name| catalog_role(all, name)).collect()
}

pub(super) fn grants(role: &CatalogRole) -> Vec<Value> {
    let shown = role.grants.iter().map(|grant| {
        let mut shown = json!({"type": grant.on, "privilege": grant.privilege});
        if grant.on != GrantOn::Catalog {
            shown["namespace"] = json!(grant.namespace);
        }
        match grant.on {
            GrantOn::Table => shown["tableName"] = json!(grant.name),
            GrantOn::View => shown["viewName"] = json!(grant.name),
            GrantOn::Catalog | GrantOn::Namespace => {}
        }
        shown
    });
    shown.collect()
}

/// The one catalog.
pub(super) fn catalog(root: &str) -> Value {
    json!({
        "type": "INTERNAL",
        "name": CATALOG,
        "properties": {"default-base-location": root},
        "storageConfigInfo": {"storageType": "FILE", "allowedLocations": [root]},
    })
}
