//! Compatibility and mode.
//!
//! Owns: the paths under `/config` and `/mode`.
//! Does not own: which setting holds where (`schemas::Registry`).

use axum::body::Bytes;
use schemas::{ConfigChange, Mode, SubjectConfig};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::errors::RegistryFault;
use super::request::{Target, parse_body};
use super::{Answer, ok, registry_work};

/// A change of settings. What would change nothing here is taken only as what it is here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigBody {
    compatibility: Option<String>,
    normalize: Option<bool>,
    alias: Option<String>,
    compatibility_group: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Settings of Confluent's that are not served.
const NOT_SERVED: [&str; 8] = [
    "validateFields",
    "validateNames",
    "validateRules",
    "compatibilityPolicy",
    "defaultMetadata",
    "overrideMetadata",
    "defaultRuleSet",
    "overrideRuleSet",
];

impl ConfigBody {
    fn change(self) -> Result<ConfigChange, RegistryFault> {
        let given =
            |name: &&&str| !matches!(self.others.get(**name), None | Some(Value::Null | Value::Bool(false)));
        if let Some(name) = NOT_SERVED.iter().find(given) {
            return Err(RegistryFault::invalid(
                42203,
                format!("{name} is not served by this registry: leave it out"),
            ));
        }
        let level = self.compatibility.as_deref().map(str::parse).transpose().map_err(|()| {
            RegistryFault::invalid(
                42203,
                "Invalid compatibility level. Valid values are NONE, BACKWARD, FORWARD, FULL, BACKWARD_TRANSITIVE, FORWARD_TRANSITIVE, and FULL_TRANSITIVE",
            )
        })?;
        Ok(ConfigChange {
            compatibility: level,
            normalize: self.normalize,
            alias: self.alias,
            compatibility_group: self.compatibility_group,
        })
    }
}

/// Settings under the names that answers to GET and DELETE have.
fn shown(config: &SubjectConfig) -> Value {
    let mut shown = json!(config);
    if let Some(members) = shown.as_object_mut()
        && let Some(level) = members.remove("compatibility")
    {
        members.insert("compatibilityLevel".into(), level);
    }
    shown
}

pub(super) async fn config(target: Target) -> Answer {
    let Target { registry, subject, .. } = &target;
    let own = registry.config(subject);
    match own {
        _ if subject.is_empty() || target.flag("defaultToGlobal")? => {
            ok(&shown(&registry.effective_config(subject)))
        }
        Some(own) => ok(&shown(&own)),
        None => {
            let name = registry.full_name(subject);
            let message = format!("Subject '{name}' does not have subject-level compatibility configured");
            Err(RegistryFault::not_found(40408, message))
        }
    }
}

pub(super) async fn put_config(target: Target, body: Bytes) -> Answer {
    let change = parse_body::<ConfigBody>(&body)?.change()?;
    let answer = json!(change);
    let Target { registry, subject, .. } = target;
    registry_work(move || registry.set_config(&subject, change)).await?;
    ok(&answer)
}

pub(super) async fn delete_config(target: Target) -> Answer {
    let Target { registry, subject, .. } = target;
    ok(&shown(&registry_work(move || registry.delete_config(&subject)).await?))
}

pub(super) async fn mode(target: Target) -> Answer {
    let Target { registry, subject, .. } = &target;
    match registry.mode(subject) {
        _ if subject.is_empty() || target.flag("defaultToGlobal")? => {
            ok(&json!({"mode": registry.effective_mode(subject)}))
        }
        Some(mode) => ok(&json!({"mode": mode})),
        None => {
            let name = registry.full_name(subject);
            let message = format!("Subject '{name}' does not have subject-level mode configured");
            Err(RegistryFault::not_found(40409, message))
        }
    }
}

#[derive(Debug, Deserialize)]
struct ModeBody {
    mode: String,
}

pub(super) async fn put_mode(target: Target, body: Bytes) -> Answer {
    let mode: Mode = parse_body::<ModeBody>(&body)?.mode.parse().map_err(|()| {
        RegistryFault::invalid(
            42204,
            "Invalid mode. Valid values here are READWRITE, READONLY, READONLY_OVERRIDE and IMPORT",
        )
    })?;
    let force = target.flag("force")?;
    let Target { registry, subject, .. } = target;
    registry_work(move || registry.set_mode(&subject, mode, force)).await?;
    ok(&json!({"mode": mode}))
}

pub(super) async fn delete_mode(target: Target) -> Answer {
    let Target { registry, subject, .. } = target;
    ok(&json!({"mode": registry_work(move || registry.delete_mode(&subject)).await?}))
}
