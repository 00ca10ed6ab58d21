//! The schema registry door: Confluent's REST API.
//!
//! Owns: paths, bodies and status codes as in Confluent's API description; `openapi.json`, which describes what is served.
//! Does not own: what is registered (`schemas::Registry`); what registering sets in motion (`pipelines::Commands`).
//! Invariants: answers claim only what holds: what is not served is refused with its name. Every path is served under
//! `/contexts/{context}` as well.

mod compatibility;
mod contexts;
mod described;
mod negotiation;
mod request;
mod schema_ids;
mod settings;
mod subjects;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{get, post};
use pipelines::Commands;
use schemas::Registry;
use serde_json::{Value, json};

use super::errors::{JSON, REGISTRY_JSON, RegistryFault, json_response};

type Answer = Result<Response, RegistryFault>;

const OPENAPI: &str = include_str!("registry/openapi.json");

#[derive(Debug, Clone)]
struct Registrar {
    registry: Registry,
    commands: Commands,
    /// Of the Kafka door's cluster.
    cluster_id: String,
}

/// The door's routes.
pub(super) fn router(deps: crate::Deps) -> Router {
    let cluster_id = deps.topics.log_id().to_string();
    routes()
        .route("/", get(root))
        .route("/openapi.json", get(openapi))
        .route("/contexts", get(contexts::list))
        .nest("/contexts/{context}", routes().route("/", get(root).delete(contexts::delete)))
        .route("/v1/metadata/id", get(metadata_id))
        .route("/v1/metadata/version", get(metadata_version))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(negotiation::negotiate))
        .with_state(Registrar { registry: deps.registry, commands: deps.commands, cluster_id })
}

/// What there is in every context.
fn routes() -> Router<Registrar> {
    Router::new()
        .route("/subjects", get(subjects::list))
        .route("/subjects/{subject}", post(subjects::lookup).delete(subjects::delete))
        .route("/subjects/{subject}/metadata", get(subjects::by_metadata))
        .route("/subjects/{subject}/versions", get(subjects::versions).post(subjects::register))
        .route(
            "/subjects/{subject}/versions/{version}",
            get(subjects::version).delete(subjects::delete_version),
        )
        .route("/subjects/{subject}/versions/{version}/schema", get(subjects::version_text))
        .route("/subjects/{subject}/versions/{version}/referencedby", get(subjects::referenced_by))
        .route("/schemas", get(schema_ids::list))
        .route("/schemas/types", get(schema_ids::types))
        .route("/schemas/guids/{guid}", get(schema_ids::by_guid))
        .route("/schemas/guids/{guid}/ids", get(schema_ids::of_guid))
        .route("/schemas/ids/{id}", get(schema_ids::by_id))
        .route("/schemas/ids/{id}/schema", get(schema_ids::text))
        .route("/schemas/ids/{id}/subjects", get(schema_ids::subjects))
        .route("/schemas/ids/{id}/versions", get(schema_ids::versions))
        .route("/compatibility/subjects/{subject}/versions", post(compatibility::check_all))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatibility::check_one))
        .route("/config", get(settings::config).put(settings::put_config).delete(settings::delete_config))
        .route(
            "/config/{subject}",
            get(settings::config).put(settings::put_config).delete(settings::delete_config),
        )
        .route("/mode", get(settings::mode).put(settings::put_mode).delete(settings::delete_mode))
        .route("/mode/{subject}", get(settings::mode).put(settings::put_mode).delete(settings::delete_mode))
}

fn ok(body: &Value) -> Answer {
    Ok(json_response(StatusCode::OK, REGISTRY_JSON, body.to_string()))
}

/// Runs work on the registry's store away from the async threads.
async fn registry_work<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, schemas::RegistryError> + Send + 'static,
) -> Result<T, RegistryFault> {
    Ok(super::blocking(work).await??)
}

async fn root() -> Answer {
    ok(&json!({}))
}

async fn openapi() -> Answer {
    Ok(json_response(StatusCode::OK, JSON, OPENAPI.to_owned()))
}

async fn metadata_id(axum::extract::State(state): axum::extract::State<Registrar>) -> Answer {
    let clusters = json!({"kafka-cluster": state.cluster_id, "schema-registry-cluster": "schema-registry"});
    ok(&json!({"scope": {"path": [], "clusters": clusters}}))
}

async fn metadata_version() -> Answer {
    ok(&json!({"version": env!("CARGO_PKG_VERSION")}))
}

async fn unknown_path(uri: Uri) -> RegistryFault {
    RegistryFault::not_found(404, format!("HTTP 404 Not Found: {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> RegistryFault {
    let message = format!("HTTP 405 Method Not Allowed: {method} {}", uri.path());
    RegistryFault::new(StatusCode::METHOD_NOT_ALLOWED, 405, message)
}
