//! The admin door: health, metrics, status, pipelines, upkeep of tables.
//!
//! Owns: paths and bodies under `/health`, `/metrics` and `/v1`.
//! Does not own: what the commands do (`pipelines::Commands`).
//! Invariants: `livez` says that the process answers, `readyz` that it takes data; neither waits for a disk.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pipelines::{Commands, PipelineSpec, TableAction};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::errors::{AdminFault, JSON, json_response};
use super::{blocking, metrics};

type Answer = Result<Response, AdminFault>;

const INDEX: &str = "\
Frazil: the admin door

GET    /health/livez                 200 while the process answers
GET    /health/readyz                200 when the node takes data, 503 with reasons otherwise
GET    /metrics                      figures for Prometheus
GET    /v1/status                    topics, tables, pipelines
GET    /v1/pipelines                 all pipelines
GET    /v1/pipelines/{name}          one pipeline; PUT stores and starts it, DELETE removes it
POST   /v1/tables/{table}/commit     commit what is stable of its topic now
POST   /v1/tables/{table}/verify     account for every offset; changes nothing
POST   /v1/tables/{table}/resume     {\"mode\":\"skip\"} or {\"mode\":\"replay\"} after a table was rolled back or diverged
POST   /v1/tables/{table}/maintenance {\"action\":\"compact\"}, expire_snapshots, remove_orphans, rewrite_manifests, replay_dlq, rollback, create_ref, drop_ref, list_refs
";

/// The door's routes.
pub(super) fn router(deps: crate::Deps) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/health/livez", get(live))
        .route("/livez", get(live))
        .route("/health/readyz", get(ready))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .route("/v1/status", get(status))
        .route("/v1/pipelines", get(pipelines))
        .route("/v1/pipelines/{name}", get(pipeline).put(put_pipeline).delete(delete_pipeline))
        .route("/v1/tables/{table}/commit", post(commit))
        .route("/v1/tables/{table}/verify", post(verify))
        .route("/v1/tables/{table}/resume", post(resume))
        .route("/v1/tables/{table}/maintenance", post(maintain))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(deps.commands)
}

fn ok(body: &impl Serialize) -> Answer {
    match serde_json::to_string(body) {
        Ok(text) => Ok(json_response(StatusCode::OK, JSON, text)),
        Err(error) => Err(AdminFault::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, AdminFault> {
    serde_json::from_slice(body)
        .map_err(|e| AdminFault::invalid(format!("the request body does not parse: {e}")))
}

async fn index() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], INDEX)
}

async fn live() -> Answer {
    ok(&json!({"live": true}))
}

async fn ready(State(commands): State<Commands>) -> Answer {
    let offline = commands.offline().map(|reason| format!("the log is offline: {reason}"));
    let reasons: Vec<String> = offline.into_iter().chain(commands.full()).collect();
    if reasons.is_empty() {
        return ok(&json!({"ready": true, "reasons": []}));
    }
    let body = json!({"ready": false, "reasons": reasons});
    Ok(json_response(StatusCode::SERVICE_UNAVAILABLE, JSON, body.to_string()))
}

async fn figures(State(commands): State<Commands>) -> Response {
    let status = commands.status().await;
    let resident = blocking(metrics::resident_bytes).await.ok().flatten();
    let text = metrics::render(&status, resident);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn status(State(commands): State<Commands>) -> Answer {
    ok(&commands.status().await)
}

#[derive(Debug, Serialize)]
struct NamedPipeline {
    name: String,
    #[serde(flatten)]
    spec: PipelineSpec,
}

async fn all_pipelines(commands: Commands) -> Result<Vec<(String, PipelineSpec)>, AdminFault> {
    match blocking(move || commands.pipelines()).await {
        Ok(found) => Ok(found?),
        Err(error) => Err(AdminFault::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())),
    }
}

async fn pipelines(State(commands): State<Commands>) -> Answer {
    let all = all_pipelines(commands).await?;
    let named: Vec<NamedPipeline> =
        all.into_iter().map(|(name, spec)| NamedPipeline { name, spec }).collect();
    ok(&json!({"pipelines": named}))
}

async fn pipeline(State(commands): State<Commands>, Path(name): Path<String>) -> Answer {
    let all = all_pipelines(commands).await?;
    match all.into_iter().find(|(known, _)| *known == name) {
        Some((_, spec)) => ok(&spec),
        None => Err(AdminFault::not_found(format!("there is no pipeline {name}"))),
    }
}

async fn put_pipeline(State(commands): State<Commands>, Path(name): Path<String>, body: Bytes) -> Answer {
    let spec: PipelineSpec = parse(&body)?;
    commands.put_pipeline(&name, spec.clone()).await?;
    ok(&spec)
}

async fn delete_pipeline(State(commands): State<Commands>, Path(name): Path<String>) -> Answer {
    commands.delete_pipeline(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn commit(State(commands): State<Commands>, Path(topic): Path<String>) -> Answer {
    let snapshot_id = commands.commit_now(&topic).await?;
    ok(&json!({"topic": topic, "snapshot_id": snapshot_id}))
}

async fn verify(State(commands): State<Commands>, Path(table): Path<String>) -> Answer {
    ok(&commands.verify_table(&table).await?)
}

/// Where a stopped table goes on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResumeMode {
    /// From the log's end.
    Skip,
    /// From the table's own progress.
    Replay,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeBody {
    mode: ResumeMode,
}

async fn resume(State(commands): State<Commands>, Path(table): Path<String>, body: Bytes) -> Answer {
    let ResumeBody { mode } = parse(&body)?;
    commands.resume_table(&table, matches!(mode, ResumeMode::Skip)).await?;
    ok(&json!({"table": table, "mode": mode}))
}

async fn maintain(State(commands): State<Commands>, Path(table): Path<String>, body: Bytes) -> Answer {
    let action: TableAction = parse(&body)?;
    ok(&commands.table_action(&table, action).await?)
}

async fn unknown_path(uri: Uri) -> AdminFault {
    AdminFault::not_found(format!("{} is not served here; GET / lists what is", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> AdminFault {
    let message = format!("{method} is not served on {}; GET / lists what is", uri.path());
    AdminFault::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", message)
}
