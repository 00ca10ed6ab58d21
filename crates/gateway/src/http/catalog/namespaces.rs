//! Requests about namespaces.

use access::catalog::Act;
use serde_json::{Value, json};
use tables::CatalogError;
use tables::catalog::rest;

use super::answers::{list as listed, ok};
use super::route::Page;
use super::{Answer, Asked, no_content};
use crate::http::blocking;
use crate::http::errors::RestFault;

/// Namespaces one level below `parent`.
pub(super) async fn list(asked: &Asked, parent: &[String], page: &Page) -> Answer {
    asked.may_in(Act::ListNamespaces, parent)?;
    let tables = asked.tables.clone();
    let all = blocking(move || tables.namespaces()).await??;
    if !parent.is_empty() && !all.iter().any(|namespace| namespace.starts_with(parent)) {
        return Err(CatalogError::NoSuchNamespace(parent.join(".")).into());
    }
    let depth = parent.len() + 1;
    let mut children: Vec<&[String]> = all
        .iter()
        .filter(|namespace| namespace.len() >= depth && namespace.starts_with(parent))
        .map(|namespace| &namespace[..depth])
        .collect();
    children.sort_unstable();
    children.dedup();
    let named: Vec<(String, Value)> = children.iter().map(|n| (n.join("\u{1f}"), json!(n))).collect();
    listed("namespaces", named, page)
}

pub(super) async fn create(asked: &Asked) -> Answer {
    let rest::CreateNamespace { namespace, properties } = asked.body()?;
    let parent = namespace.split_last().map_or(&[][..], |(_, parent)| parent);
    asked.may_in(Act::CreateNamespace, parent)?;
    let properties = properties.unwrap_or_default();
    let answer = json!({"namespace": &namespace, "properties": &properties});
    let (tables, once) = (asked.tables.clone(), asked.once.clone());
    blocking(move || tables.create_namespace_once(&namespace, properties, &once)).await??;
    ok(&answer)
}

pub(super) async fn load(asked: &Asked, namespace: &[String]) -> Answer {
    asked.may_in(Act::LoadNamespace, namespace)?;
    let (tables, name) = (asked.tables.clone(), namespace.to_vec());
    let properties = blocking(move || tables.namespace_properties(&name)).await??;
    ok(&json!({"namespace": namespace, "properties": properties}))
}

pub(super) async fn exists(asked: &Asked, namespace: &[String]) -> Answer {
    asked.may_in(Act::LoadNamespace, namespace)?;
    let (tables, name) = (asked.tables.clone(), namespace.to_vec());
    blocking(move || tables.namespace_properties(&name)).await??;
    no_content()
}

pub(super) async fn update(asked: &Asked, namespace: &[String]) -> Answer {
    asked.may_in(Act::UpdateNamespace, namespace)?;
    let rest::UpdateNamespace { removals, updates } = asked.body()?;
    let (removals, updates) = (removals.unwrap_or_default(), updates.unwrap_or_default());
    if removals.len() + updates.len() > 10_000 {
        return Err(RestFault::bad("at most 10000 properties are changed at once"));
    }
    let (tables, name, once) = (asked.tables.clone(), namespace.to_vec(), asked.once.clone());
    let change = blocking(move || tables.update_namespace(&name, &removals, &updates, &once)).await??;
    ok(&json!(change))
}

pub(super) async fn drop(asked: &Asked, namespace: &[String]) -> Answer {
    asked.may_in(Act::DropNamespace, namespace)?;
    let (tables, name, once) = (asked.tables.clone(), namespace.to_vec(), asked.once.clone());
    blocking(move || tables.drop_namespace(&name, &once)).await??;
    no_content()
}
