//! Schemas by id and GUID, and the list of all.
//!
//! Owns: the paths under `/schemas`.

use axum::extract::State;
use axum::http::StatusCode;
use schemas::{Form, Registry, RegistryError, SchemaType};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::errors::{REGISTRY_JSON, RegistryFault, json_response};
use super::request::Target;
use super::{Answer, Registrar, described, ok, registry_work};

/// The id in the path, and the registry of the context that `subject` may name.
fn id(target: &Target) -> Result<(Registry, i32), RegistryFault> {
    let text = target.param("id");
    let id = text.parse().map_err(|_| {
        let text: String = text.chars().take(100).collect();
        RegistryFault::not_found(404, format!("`{text}` is no schema id"))
    })?;
    let (registry, _) = target.registry.locate(target.text("subject").unwrap_or_default())?;
    Ok((registry, id))
}

/// The bare name in `subject`.
fn only_subject(target: &Target) -> Result<Option<String>, RegistryFault> {
    let Some(subject) = target.text("subject") else { return Ok(None) };
    let (registry, subject) = target.registry.locate(subject)?;
    Ok(Some(subject).filter(|subject| !subject.is_empty()).map(|subject| registry.full_name(subject)))
}

pub(super) async fn list(target: Target) -> Answer {
    let (deleted, latest_only) = (target.flag("deleted")?, target.flag("latestOnly")?);
    let form = described::form(&target)?;
    let (registries, prefix) = super::subjects::listed(&target)?;
    let found = super::super::blocking(move || {
        let mut all = Vec::new();
        for registry in registries {
            let versions = registry.all_versions(&prefix, deleted, latest_only);
            all.extend(versions.into_iter().map(|version| (registry.clone(), version)));
        }
        all
    });
    // Only what is asked for is put into words.
    let page = target.page(found.await?)?;
    let words = registry_work(move || {
        let all = page.iter().map(|(registry, version)| described::full(registry, version, form));
        all.collect::<Result<Vec<Value>, RegistryError>>()
    });
    ok(&Value::Array(words.await?))
}

pub(super) async fn types() -> Answer {
    ok(&json!([SchemaType::Json, SchemaType::Protobuf, SchemaType::Avro]))
}

pub(super) async fn by_id(target: Target) -> Answer {
    let (registry, id) = id(&target)?;
    let (form, max_id) = (described::form(&target)?, target.flag("fetchMaxId")?);
    let found = registry_work(move || {
        let mut head = Map::new();
        if max_id {
            head.insert("maxId".into(), json!(registry.last_id()));
        }
        describe(&registry, id, head, form)
    });
    ok(&found.await?)
}

fn describe(
    registry: &Registry,
    id: i32,
    mut head: Map<String, Value>,
    form: Form,
) -> Result<Value, RegistryError> {
    let (schema, annotations) = (registry.by_id(id)?, registry.annotations(id)?);
    head.insert("guid".into(), json!(annotations.guid_of(&schema)));
    described::with_schema(head, registry, (&schema, &annotations), form)
}

pub(super) async fn text(target: Target) -> Answer {
    let (registry, id) = id(&target)?;
    let form = described::form(&target)?;
    let text = registry_work(move || match form {
        Form::Text => Ok(registry.by_id(id)?.schema.clone()),
        form => registry.text_as(id, form),
    });
    Ok(json_response(StatusCode::OK, REGISTRY_JSON, text.await?))
}

pub(super) async fn subjects(target: Target) -> Answer {
    let mut names: Vec<String> = usages(&target).await?.into_iter().map(|(subject, _)| subject).collect();
    names.sort_unstable();
    names.dedup();
    ok(&json!(target.page(names)?))
}

pub(super) async fn versions(target: Target) -> Answer {
    let usages = usages(&target).await?.into_iter();
    let all = usages.map(|(subject, version)| json!({"subject": subject, "version": version})).collect();
    ok(&Value::Array(target.page(all)?))
}

async fn usages(target: &Target) -> Result<Vec<(String, i32)>, RegistryFault> {
    let ((registry, id), deleted, only) = (id(target)?, target.flag("deleted")?, only_subject(target)?);
    let mut usages = registry_work(move || registry.usages(id, deleted)).await?;
    usages.retain(|(subject, _)| only.as_ref().is_none_or(|only| only == subject));
    Ok(usages)
}

fn guid(target: &Target) -> Result<Uuid, RegistryFault> {
    let text = target.param("guid");
    Uuid::try_parse(text).map_err(|_| {
        let text: String = text.chars().take(100).collect();
        RegistryFault::not_found(40403, format!("Schema with GUID {text} not found"))
    })
}

/// Where a GUID is known: contexts and ids, the default context first.
fn places(registry: &Registry, guid: Uuid) -> Result<Vec<(Registry, i32)>, RegistryError> {
    let mut found = Vec::new();
    for context in registry.contexts() {
        let registry = registry.in_context(&context)?;
        if let Ok(schema) = registry.by_guid(guid) {
            found.push((registry, schema.id));
        }
    }
    if found.is_empty() { Err(RegistryError::GuidNotFound(guid)) } else { Ok(found) }
}

pub(super) async fn by_guid(State(state): State<Registrar>, target: Target) -> Answer {
    let (guid, form) = (guid(&target)?, described::form(&target)?);
    let found = registry_work(move || match places(&state.registry, guid)?.first() {
        Some((registry, id)) => describe(registry, *id, Map::new(), form),
        None => Err(RegistryError::GuidNotFound(guid)),
    });
    ok(&found.await?)
}

pub(super) async fn of_guid(State(state): State<Registrar>, target: Target) -> Answer {
    let guid = guid(&target)?;
    let found = registry_work(move || places(&state.registry, guid)).await?.into_iter();
    ok(&found.map(|(registry, id)| json!({"context": registry.context(), "id": id})).collect())
}
