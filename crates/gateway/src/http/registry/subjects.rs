//! Subjects and their versions.
//!
//! Owns: the paths under `/subjects`.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use schemas::{Form, Registry, RegistryError, Version};
use serde_json::{Map, json};

use super::super::blocking;
use super::super::errors::{REGISTRY_JSON, json_response};
use super::request::{Target, bad_request, registration};
use super::{Answer, Registrar, described, ok, registry_work};

/// In `subjectPrefix`: in all contexts.
const EVERYWHERE: &str = ":*:";

/// The contexts that a list is of, with the prefix of subjects in them.
pub(super) fn listed(target: &Target) -> Result<(Vec<Registry>, String), RegistryError> {
    let prefix = target.text("subjectPrefix").unwrap_or(if target.is_in_context() { "" } else { EVERYWHERE });
    if let Some(prefix) = prefix.strip_prefix(EVERYWHERE) {
        let contexts = target.registry.contexts();
        let all = contexts.iter().map(|context| target.registry.in_context(context));
        return Ok((all.collect::<Result<_, _>>()?, prefix.to_owned()));
    }
    let (registry, prefix) = target.registry.locate(prefix)?;
    Ok((vec![registry], prefix.to_owned()))
}

pub(super) async fn list(target: Target) -> Answer {
    let (deleted, deleted_only) = (target.flag("deleted")?, target.flag("deletedOnly")?);
    let (registries, prefix) = listed(&target)?;
    let names = blocking(move || {
        let mut names = Vec::new();
        for registry in registries {
            let live: BTreeSet<String> = registry.subjects(false).into_iter().collect();
            let mut found = registry.subjects(deleted || deleted_only);
            found.retain(|name| name.starts_with(&prefix) && !(deleted_only && live.contains(name)));
            names.extend(found.iter().map(|name| registry.full_name(name)));
        }
        names
    })
    .await?;
    ok(&json!(target.page(names)?))
}

pub(super) async fn lookup(target: Target, body: Bytes) -> Answer {
    let schema = registration(&target, &body)?;
    let (form, deleted) = (described::form(&target)?, target.flag("deleted")?);
    let Target { registry, subject, .. } = target.aliased()?;
    let found = registry_work(move || {
        let found = registry.lookup_among(&subject, &schema, deleted)?;
        described::full(&registry, &found, form)
    });
    ok(&found.await?)
}

pub(super) async fn register(State(state): State<Registrar>, target: Target, body: Bytes) -> Answer {
    let schema = registration(&target, &body)?;
    let form = described::form(&target)?;
    let target = target.aliased()?;
    let name = target.registry.full_name(&target.subject);
    if target.subject.is_empty() {
        let reason = "it is empty".into();
        return Err(RegistryError::InvalidSubject { reason }.into());
    }
    let registered = state.commands.register_schema(&name, schema).await?;
    let mut head = Map::new();
    head.insert("id".into(), json!(registered.schema.id));
    head.insert("version".into(), json!(registered.version));
    head.insert("guid".into(), json!(registered.guid()));
    let of = (&*registered.schema, &*registered.annotations);
    ok(&described::with_schema(head, &target.registry, of, form)?)
}

pub(super) async fn versions(target: Target) -> Answer {
    let (deleted, deleted_only) = (target.flag("deleted")?, target.flag("deletedOnly")?);
    let target = target.aliased()?;
    let (registry, subject) = (target.registry.clone(), target.subject.clone());
    let found = registry_work(move || {
        let mut versions = registry.versions(&subject, deleted || deleted_only)?;
        if deleted_only {
            let live = registry.versions(&subject, false).unwrap_or_default();
            versions.retain(|version| !live.contains(version));
        }
        Ok(versions)
    });
    let found = found.await?;
    ok(&json!(target.page(found)?))
}

pub(super) async fn version(target: Target) -> Answer {
    let (version, form, deleted) = (target.version()?, described::form(&target)?, target.flag("deleted")?);
    let Target { registry, subject, .. } = target.aliased()?;
    let found = registry_work(move || {
        let found = registry.version_among(&subject, version, deleted)?;
        described::full(&registry, &found, form)
    });
    ok(&found.await?)
}

pub(super) async fn version_text(target: Target) -> Answer {
    let (version, form, deleted) = (target.version()?, described::form(&target)?, target.flag("deleted")?);
    let Target { registry, subject, .. } = target.aliased()?;
    let text = registry_work(move || {
        let found = registry.version_among(&subject, version, deleted)?;
        match form {
            Form::Text => Ok(found.schema.schema.clone()),
            form => registry.text_as(found.schema.id, form),
        }
    });
    Ok(json_response(StatusCode::OK, REGISTRY_JSON, text.await?))
}

pub(super) async fn referenced_by(target: Target) -> Answer {
    let version = target.version()?;
    let target = target.aliased()?;
    let (registry, subject) = (target.registry.clone(), target.subject.clone());
    let ids = registry_work(move || registry.referenced_by(&subject, version)).await?;
    ok(&json!(target.page(ids)?))
}

/// The latest version whose metadata has certain properties.
pub(super) async fn by_metadata(target: Target) -> Answer {
    let (keys, values): (Vec<_>, Vec<_>) = (
        target.texts("key").map(str::to_owned).collect(),
        target.texts("value").map(str::to_owned).collect(),
    );
    if keys.len() != values.len() {
        return Err(bad_request("as many `value`s as `key`s are expected"));
    }
    let wanted: Vec<(String, String)> = keys.into_iter().zip(values).collect();
    let (form, deleted) = (described::form(&target)?, target.flag("deleted")?);
    let Target { registry, subject, .. } = target.aliased()?;
    let found = registry_work(move || {
        for number in registry.versions(&subject, deleted)?.into_iter().rev() {
            let found = registry.version_among(&subject, Version::Number(number), deleted)?;
            let properties = found.annotations.metadata.as_ref().and_then(|m| m.properties.as_ref());
            let has = |(key, value): &(String, String)| properties.is_some_and(|p| p.get(key) == Some(value));
            if wanted.iter().all(has) {
                return described::full(&registry, &found, form);
            }
        }
        Err(RegistryError::SchemaNotRegistered { subject: registry.full_name(&subject) })
    });
    ok(&found.await?)
}

pub(super) async fn delete(target: Target) -> Answer {
    let permanent = target.flag("permanent")?;
    let Target { registry, subject, .. } = target.aliased()?;
    ok(&json!(registry_work(move || registry.delete_subject(&subject, permanent)).await?))
}

pub(super) async fn delete_version(target: Target) -> Answer {
    let (version, permanent) = (target.version()?, target.flag("permanent")?);
    let Target { registry, subject, .. } = target.aliased()?;
    ok(&json!(registry_work(move || registry.delete_version(&subject, version, permanent)).await?))
}
