//! What requests to the registry are made of.
//!
//! Owns: names in paths, flags in queries, bodies.
//! Does not own: what is done with them.
//! Invariants: a flag that does not parse is refused by name; unknown ones are ignored, as with Confluent.

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use schemas::{
    Annotations, Metadata, NewSchema, Registration, Registry, RuleSet, SchemaReference, SchemaType, Version,
};
use serde::Deserialize;

use super::super::errors::RegistryFault;
use super::Registrar;

/// The names in a request's path, and the flags behind it.
#[derive(Debug)]
pub(super) struct Target {
    /// Seen from the context that the request names.
    pub(super) registry: Registry,
    /// Without its context; empty when the path has none.
    pub(super) subject: String,
    params: Vec<(String, String)>,
    flags: Vec<(String, String)>,
}

impl FromRequestParts<Registrar> for Target {
    type Rejection = RegistryFault;

    async fn from_request_parts(parts: &mut Parts, state: &Registrar) -> Result<Self, RegistryFault> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params =
            params.map_err(|e| bad_request(format!("the path does not parse: {}", e.body_text())))?;
        let params: Vec<_> = params.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let Query(flags) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|e| bad_request(format!("the query does not parse: {}", e.body_text())))?;
        let named = |name: &str| params.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        let mut registry = state.registry.clone();
        if let Some(context) = named("context") {
            registry = registry.in_context(context)?;
        }
        let (registry, subject) = registry.locate(named("subject").unwrap_or_default())?;
        let subject = subject.to_owned();
        Ok(Self { registry, subject, params, flags })
    }
}

pub(super) fn bad_request(message: impl Into<String>) -> RegistryFault {
    RegistryFault::new(StatusCode::BAD_REQUEST, 400, message)
}

impl Target {
    /// The subject that the name stands for, when it is an alias.
    pub(super) fn aliased(mut self) -> Result<Self, RegistryFault> {
        let alias = self.registry.aliased(&self.subject);
        if alias != self.subject {
            let (registry, subject) = self.registry.locate(&alias)?;
            (self.registry, self.subject) = (registry, subject.to_owned());
        }
        Ok(self)
    }

    /// A part of the path.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v)
    }

    /// Whether the path names a context by `/contexts/{context}`.
    pub(super) fn is_in_context(&self) -> bool {
        self.params.iter().any(|(name, _)| name == "context")
    }

    /// The last of the flags of that name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// All values of the flags of that name.
    pub(super) fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter(move |(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// `true` or `false`; the latter when it is not there.
    pub(super) fn flag(&self, name: &str) -> Result<bool, RegistryFault> {
        match self.text(name) {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(bad_request(format!("{name}={}: use true or false", shown(text)))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<i32>, RegistryFault> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| bad_request(format!("{name}={}: a whole number is expected", shown(text))))
        };
        self.text(name).map(parse).transpose()
    }

    /// The part of a list that `offset` and `limit` ask for; a negative limit is none.
    pub(super) fn page<T>(&self, list: Vec<T>) -> Result<Vec<T>, RegistryFault> {
        let offset = usize::try_from(self.number("offset")?.unwrap_or(0))
            .map_err(|_| bad_request("offset: it must not be negative"))?;
        let limit = usize::try_from(self.number("limit")?.unwrap_or(-1)).unwrap_or(usize::MAX);
        Ok(list.into_iter().skip(offset).take(limit).collect())
    }

    /// The version in the path.
    pub(super) fn version(&self) -> Result<Version, RegistryFault> {
        match self.param("version") {
            "latest" | "-1" => Ok(Version::Latest),
            number => match number.parse().ok().filter(|n| *n >= 1) {
                Some(number) => Ok(Version::Number(number)),
                None => Err(schemas::RegistryError::InvalidVersion(shown(number)).into()),
            },
        }
    }
}

/// The beginning of a text from outside.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

pub(super) fn parse_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RegistryFault> {
    serde_json::from_slice(body).map_err(|e| bad_request(format!("the request body does not parse: {e}")))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaBody {
    schema: Option<String>,
    schema_type: Option<String>,
    references: Option<Vec<SchemaReference>>,
    metadata: Option<Metadata>,
    rule_set: Option<RuleSet>,
    id: Option<i32>,
    version: Option<i32>,
}

/// The schema in a request's body. `normalize` is in the query.
pub(super) fn registration(target: &Target, body: &[u8]) -> Result<Registration, RegistryFault> {
    let body: SchemaBody = parse_body(body)?;
    let schema = body
        .schema
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| RegistryFault::invalid(42201, "Empty schema"))?;
    let schema_type = match body.schema_type.as_deref() {
        None | Some("AVRO") => SchemaType::Avro,
        Some("JSON") => SchemaType::Json,
        Some("PROTOBUF") => SchemaType::Protobuf,
        Some(other) => {
            let message = format!(
                "Invalid schema type {}: the types of this registry are AVRO, JSON and PROTOBUF",
                shown(other)
            );
            return Err(RegistryFault::invalid(42201, message));
        }
    };
    Ok(Registration {
        annotations: Annotations { metadata: body.metadata, rule_set: body.rule_set },
        // Clients that have none say -1 and 0.
        id: body.id.filter(|id| *id != -1),
        version: body.version.filter(|version| !matches!(version, -1 | 0)),
        normalize: target.flag("normalize")?,
        ..Registration::of_client(NewSchema {
            schema_type,
            schema,
            references: body.references.unwrap_or_default(),
        })
    })
}
