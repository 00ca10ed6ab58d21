//! The schema registry door: the part of Confluent's REST API that clients need.
//!
//! Owns: paths, bodies and status codes as in Confluent's API description.
//! Does not own: what is registered (`schemas::Registry`); what registering sets in motion (`pipelines::Commands`).
//! Invariants: answers claim only what holds: the compatibility level is `NONE`, the schema types are those that are decoded.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use pipelines::Commands;
use schemas::{NewSchema, RegisteredSchema, Registry, SchemaReference, SchemaType, SubjectVersion, Version};
use serde::Deserialize;
use serde_json::{Value, json};

use super::blocking;
use super::errors::{REGISTRY_JSON, RegistryFault, json_response};

type Answer = Result<Response, RegistryFault>;

#[derive(Debug, Clone)]
struct Registrar {
    registry: Registry,
    commands: Commands,
}

/// The door's routes.
pub(super) fn router(deps: crate::Deps) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(lookup).delete(delete_subject))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version).delete(delete_version))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_schema))
        .route("/schemas/types", get(types))
        .route("/schemas/guids/{guid}", get(schema_by_guid))
        .route("/schemas/guids/{guid}/ids", get(ids_of_guid))
        .route("/schemas/ids/{id}", get(schema_by_id))
        .route("/schemas/ids/{id}/schema", get(schema_text_by_id))
        .route("/schemas/ids/{id}/subjects", get(subjects_of_id))
        .route("/schemas/ids/{id}/versions", get(versions_of_id))
        .route("/contexts", get(contexts))
        .route("/config", get(config).put(put_config))
        .route("/config/{subject}", get(subject_config))
        .route("/mode", get(mode).put(put_mode))
        .route("/mode/{subject}", get(subject_mode))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Registrar { registry: deps.registry, commands: deps.commands })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flags {
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    deleted_only: bool,
    #[serde(default)]
    permanent: bool,
    #[serde(default)]
    default_to_global: bool,
    subject_prefix: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaBody {
    schema: Option<String>,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<SchemaReference>>,
}

fn ok(body: &Value) -> Answer {
    Ok(json_response(StatusCode::OK, REGISTRY_JSON, body.to_string()))
}

fn parse_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RegistryFault> {
    serde_json::from_slice(body).map_err(|e| {
        RegistryFault::new(StatusCode::BAD_REQUEST, 400, format!("the request body does not parse: {e}"))
    })
}

fn parse_schema(body: &[u8]) -> Result<NewSchema, RegistryFault> {
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
                "Invalid schema type {other}: the types of this registry are AVRO, JSON and PROTOBUF"
            );
            return Err(RegistryFault::invalid(42201, message));
        }
    };
    Ok(NewSchema { schema_type, schema, references: body.references.unwrap_or_default() })
}

fn parse_version(text: &str) -> Result<Version, RegistryFault> {
    match text {
        "latest" | "-1" => Ok(Version::Latest),
        number => number.parse().ok().filter(|n| *n >= 1).map(Version::Number).ok_or_else(|| {
            let message = format!(
                "The specified version '{number}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
            );
            RegistryFault::invalid(42202, message)
        }),
    }
}

fn parse_id(text: &str) -> Result<i32, RegistryFault> {
    text.parse().map_err(|_| RegistryFault::not_found(404, format!("`{text}` is no schema id")))
}

/// Adds what Confluent leaves out when it is the default: type `AVRO`, no references.
fn with_schema(mut body: Value, schema: &RegisteredSchema) -> Value {
    let fields = [
        (schema.schema_type != SchemaType::Avro).then(|| ("schemaType", json!(schema.schema_type))),
        (!schema.references.is_empty()).then(|| ("references", json!(schema.references))),
        Some(("schema", json!(schema.schema))),
    ];
    if let Value::Object(map) = &mut body {
        map.extend(fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)));
    }
    body
}

fn full(found: &SubjectVersion) -> Value {
    let guid = found.schema.guid();
    let head =
        json!({"subject": found.subject, "version": found.version, "id": found.schema.id, "guid": guid});
    with_schema(head, &found.schema)
}

async fn root() -> Answer {
    ok(&json!({}))
}

async fn subjects(State(state): State<Registrar>, Query(flags): Query<Flags>) -> Answer {
    let names = blocking(move || {
        let live = state.registry.subjects(false);
        match (flags.deleted_only, flags.deleted) {
            (true, _) => {
                let all = state.registry.subjects(true);
                all.into_iter().filter(|name| live.binary_search(name).is_err()).collect()
            }
            (false, true) => state.registry.subjects(true),
            (false, false) => live,
        }
    })
    .await?;
    let prefix = flags.subject_prefix.unwrap_or_default();
    ok(&names.into_iter().filter(|name| name.starts_with(&prefix)).collect())
}

async fn lookup(State(state): State<Registrar>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let schema = parse_schema(&body)?;
    let found = blocking(move || state.registry.lookup(&subject, &schema)).await??;
    ok(&full(&found))
}

async fn register(State(state): State<Registrar>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let schema = parse_schema(&body)?;
    let registered = state.commands.register_schema(&subject, schema).await?;
    ok(&with_schema(
        json!({"id": registered.schema.id, "version": registered.version, "guid": registered.schema.guid()}),
        &registered.schema,
    ))
}

async fn versions(
    State(state): State<Registrar>,
    Path(subject): Path<String>,
    Query(flags): Query<Flags>,
) -> Answer {
    ok(&json!(blocking(move || state.registry.versions(&subject, flags.deleted)).await??))
}

async fn version(State(state): State<Registrar>, Path((subject, version)): Path<(String, String)>) -> Answer {
    let version = parse_version(&version)?;
    ok(&full(&blocking(move || state.registry.version(&subject, version)).await??))
}

async fn version_schema(
    State(state): State<Registrar>,
    Path((subject, version)): Path<(String, String)>,
) -> Answer {
    let version = parse_version(&version)?;
    let found = blocking(move || state.registry.version(&subject, version)).await??;
    Ok(json_response(StatusCode::OK, REGISTRY_JSON, found.schema.schema.clone()))
}

async fn delete_subject(
    State(state): State<Registrar>,
    Path(subject): Path<String>,
    Query(flags): Query<Flags>,
) -> Answer {
    ok(&json!(blocking(move || state.registry.delete_subject(&subject, flags.permanent)).await??))
}

async fn delete_version(
    State(state): State<Registrar>,
    Path((subject, version)): Path<(String, String)>,
    Query(flags): Query<Flags>,
) -> Answer {
    let version = parse_version(&version)?;
    let deleted =
        blocking(move || state.registry.delete_version(&subject, version, flags.permanent)).await??;
    ok(&json!(deleted))
}

async fn types() -> Answer {
    ok(&json!(["JSON", "PROTOBUF", "AVRO"]))
}

async fn schema_by_id(State(state): State<Registrar>, Path(id): Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let schema = blocking(move || state.registry.by_id(id)).await??;
    ok(&with_schema(json!({"guid": schema.guid()}), &schema))
}

fn parse_guid(text: &str) -> Result<uuid::Uuid, RegistryFault> {
    uuid::Uuid::try_parse(text)
        .map_err(|_| RegistryFault::not_found(40403, format!("Schema with GUID {text} not found")))
}

async fn schema_by_guid(State(state): State<Registrar>, Path(guid): Path<String>) -> Answer {
    let guid = parse_guid(&guid)?;
    let schema = blocking(move || state.registry.by_guid(guid)).await??;
    ok(&with_schema(json!({"guid": guid}), &schema))
}

async fn ids_of_guid(State(state): State<Registrar>, Path(guid): Path<String>) -> Answer {
    let guid = parse_guid(&guid)?;
    let schema = blocking(move || state.registry.by_guid(guid)).await??;
    ok(&json!([{"context": ".", "id": schema.id}]))
}

async fn schema_text_by_id(State(state): State<Registrar>, Path(id): Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let schema = blocking(move || state.registry.by_id(id)).await??;
    Ok(json_response(StatusCode::OK, REGISTRY_JSON, schema.schema.clone()))
}

async fn subjects_of_id(State(state): State<Registrar>, Path(id): Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let mut names: Vec<String> =
        blocking(move || state.registry.usages(id)).await??.into_iter().map(|(subject, _)| subject).collect();
    names.sort_unstable();
    names.dedup();
    ok(&json!(names))
}

async fn versions_of_id(State(state): State<Registrar>, Path(id): Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let usages = blocking(move || state.registry.usages(id)).await??;
    ok(&usages
        .into_iter()
        .map(|(subject, version)| json!({"subject": subject, "version": version}))
        .collect())
}

async fn contexts() -> Answer {
    ok(&json!(["."]))
}

async fn config() -> Answer {
    ok(&json!({"compatibilityLevel": "NONE"}))
}

#[derive(Debug, Deserialize)]
struct ConfigBody {
    compatibility: String,
}

/// Accepts what holds already; anything else would be a promise that is not kept.
async fn put_config(body: Bytes) -> Answer {
    let wanted: ConfigBody = parse_body(&body)?;
    match wanted.compatibility.as_str() {
        "NONE" => ok(&json!({"compatibility": "NONE"})),
        other => Err(RegistryFault::invalid(
            42203,
            format!("Compatibility level {other} is not supported yet: the level of this registry is NONE"),
        )),
    }
}

async fn subject_config(Path(subject): Path<String>, Query(flags): Query<Flags>) -> Answer {
    if flags.default_to_global {
        return config().await;
    }
    let message = format!("Subject '{subject}' does not have subject-level compatibility configured");
    Err(RegistryFault::not_found(40408, message))
}

async fn mode() -> Answer {
    ok(&json!({"mode": "READWRITE"}))
}

#[derive(Debug, Deserialize)]
struct ModeBody {
    mode: String,
}

async fn put_mode(body: Bytes) -> Answer {
    let wanted: ModeBody = parse_body(&body)?;
    match wanted.mode.as_str() {
        "READWRITE" => mode().await,
        other => Err(RegistryFault::invalid(
            42204,
            format!("Mode {other} is not supported yet: the mode of this registry is READWRITE"),
        )),
    }
}

async fn subject_mode(Path(subject): Path<String>, Query(flags): Query<Flags>) -> Answer {
    if flags.default_to_global {
        return mode().await;
    }
    let message = format!("Subject '{subject}' does not have subject-level mode configured");
    Err(RegistryFault::not_found(40409, message))
}

async fn unknown_path(uri: Uri) -> RegistryFault {
    RegistryFault::not_found(404, format!("HTTP 404 Not Found: {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> RegistryFault {
    let message = format!("HTTP 405 Method Not Allowed: {method} {}", uri.path());
    RegistryFault::new(StatusCode::METHOD_NOT_ALLOWED, 405, message)
}
