//! The Iceberg REST catalog door, read-only.
//!
//! Owns: the REST API's reading half under `/`, `/catalog` (as Lakekeeper) and `/api/catalog` (as Polaris), each with
//! or without a prefix segment.
//! Does not own: tables (`tables::Tables`); writing, which is refused by name.
//! Invariants: `endpoints` in the configuration lists exactly what is served; unknown paths fail fast with 404, since
//! engines probe for tables by the dozen.

mod route;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tables::{CatalogError, Table, TableIdent, Tables};

use self::route::{Route, Snapshots};
use super::blocking;
use super::errors::{JSON, RestFault, json_response};

/// What is served, in the words of the REST specification. `{prefix}` may be left out by clients.
const ENDPOINTS: [&str; 6] = [
    "GET /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
];

type Answer = Result<Response, RestFault>;

/// The door's routes. They are parsed by [`route`], because the optional prefix is ambiguous to a path table.
pub(super) fn router(tables: Tables) -> Router {
    Router::new().fallback(answer).with_state(tables)
}

async fn answer(State(tables): State<Tables>, request: Request) -> Response {
    let head = request.method() == Method::HEAD;
    let outcome = match route::parse(request.method(), request.uri()) {
        Ok(route) => serve(tables, route, request.headers()).await,
        Err(fault) => Err(fault),
    };
    match outcome {
        Ok(response) => response,
        // A HEAD answer has no body; its status says everything.
        Err(fault) if head => fault.status().into_response(),
        Err(fault) => fault.into_response(),
    }
}

async fn serve(tables: Tables, route: Route, headers: &HeaderMap) -> Answer {
    match route {
        Route::Config => ok(&json!({"defaults": {}, "overrides": {}, "endpoints": ENDPOINTS})),
        Route::Namespaces { parent } => namespaces(tables, parent).await,
        Route::Namespace(namespace) => {
            let found = namespace.clone();
            let properties = blocking(move || tables.namespace_properties(&namespace)).await??;
            ok(&json!({"namespace": found, "properties": properties}))
        }
        Route::NamespaceExists(namespace) => {
            blocking(move || tables.namespace_properties(&namespace)).await??;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Route::Tables(namespace) => {
            let found = blocking(move || tables.tables(&namespace)).await??;
            let identifiers: Vec<Value> = found
                .into_iter()
                .map(|ident| json!({"namespace": ident.namespace, "name": ident.name}))
                .collect();
            ok(&json!({"identifiers": identifiers}))
        }
        Route::Table { ident, snapshots } => load_table(&tables, &ident, snapshots, headers).await,
        Route::TableExists(ident) => {
            tables.load(&ident).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

fn ok(body: &Value) -> Answer {
    Ok(json_response(StatusCode::OK, JSON, body.to_string()))
}

/// Namespaces one level below `parent`.
async fn namespaces(tables: Tables, parent: Vec<String>) -> Answer {
    let all = blocking(move || tables.namespaces()).await??;
    if !parent.is_empty() && !all.iter().any(|namespace| namespace.starts_with(&parent)) {
        return Err(CatalogError::NoSuchNamespace(parent.join(".")).into());
    }
    let depth = parent.len() + 1;
    let mut children: Vec<&[String]> = all
        .iter()
        .filter(|namespace| namespace.len() >= depth && namespace.starts_with(&parent))
        .map(|namespace| &namespace[..depth])
        .collect();
    children.sort_unstable();
    children.dedup();
    ok(&json!({"namespaces": children}))
}

async fn load_table(
    tables: &Tables,
    ident: &TableIdent,
    snapshots: Snapshots,
    headers: &HeaderMap,
) -> Answer {
    let table = tables.load(ident).await?;
    let tag = etag(&table, snapshots);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    // Metadata with many snapshots takes a while to write out.
    let body = blocking(move || table_body(&table, snapshots)).await??;
    let mut response = json_response(StatusCode::OK, JSON, body);
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(response)
}

/// A metadata file never changes, so its location names the version.
fn etag(table: &Table, snapshots: Snapshots) -> String {
    let file = table.metadata_location.rsplit('/').next().unwrap_or_default();
    format!("\"{file}-{}\"", snapshots.word())
}

fn table_body(table: &Table, snapshots: Snapshots) -> Result<String, RestFault> {
    let mut metadata = serde_json::to_value(&*table.metadata)
        .map_err(|e| CatalogError::Format(format!("{}: {e}", table.metadata_location)))?;
    if snapshots == Snapshots::Refs {
        keep_referenced(&mut metadata);
    }
    Ok(json!({"metadata-location": &*table.metadata_location, "metadata": metadata, "config": {}})
        .to_string())
}

/// Leaves only the snapshots that a branch or tag names.
fn keep_referenced(metadata: &mut Value) {
    let mut named: Vec<i64> = metadata["refs"]
        .as_object()
        .map(|refs| refs.values().filter_map(|r| r["snapshot-id"].as_i64()).collect())
        .unwrap_or_default();
    named.extend(metadata["current-snapshot-id"].as_i64());
    if let Some(list) = metadata["snapshots"].as_array_mut() {
        list.retain(|snapshot| snapshot["snapshot-id"].as_i64().is_some_and(|id| named.contains(&id)));
    }
}
