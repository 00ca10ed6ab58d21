//! The Iceberg REST catalog door.
//!
//! Owns: the REST API under `/`, `/catalog` (as Lakekeeper) and `/api/catalog` (as Polaris), each with or without a
//! prefix segment; tokens (`/v1/oauth/tokens`); Polaris' management API.
//! Does not own: tables and views, and what guests may do to them (`tables::Tables`); who may do what (`access`).
//! Invariants: `endpoints` in the configuration lists exactly what is served; unknown paths fail fast with 404, since
//! engines probe for tables by the dozen; a request with an `Idempotency-Key` is carried out once;
//! every handler asks whether its caller may before it looks at anything.

mod answers;
mod caller;
mod management;
mod namespaces;
mod repeat;
mod route;
mod tables_of;
mod tokens;
mod views;

use std::sync::Arc;

use access::Access;
use access::catalog::Caller;
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base::SharedClock;
use serde::de::DeserializeOwned;
use serde_json::json;
use tables::Tables;
use tables::catalog::Once;
use tokio::sync::Semaphore;

use self::answers::ok;
use self::route::Route;
use super::errors::RestFault;

/// What is served, in the words of the REST specification. `{prefix}` may be left out by clients.
const ENDPOINTS: [&str; 23] = [
    "GET /v1/{prefix}/namespaces",
    "POST /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "DELETE /v1/{prefix}/namespaces/{namespace}",
    "POST /v1/{prefix}/namespaces/{namespace}/properties",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "POST /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/register",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
    "POST /v1/{prefix}/tables/rename",
    "POST /v1/{prefix}/transactions/commit",
    "GET /v1/{prefix}/namespaces/{namespace}/views",
    "POST /v1/{prefix}/namespaces/{namespace}/views",
    "GET /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/views/rename",
];

type Answer = Result<Response, RestFault>;

/// What the door stands on.
#[derive(Debug, Clone)]
struct Door {
    tables: Tables,
    access: Access,
    clock: SharedClock,
    /// Secrets that are checked at once.
    checks: Arc<Semaphore>,
}

/// Each check of a secret takes milliseconds of a processor.
const CHECKS_AT_ONCE: usize = 2;

/// A request that was read.
#[derive(Debug)]
struct Asked {
    door: Door,
    tables: Tables,
    caller: Caller,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    once: Once,
}

/// The door's routes. They are parsed by [`route`], because the optional prefix is ambiguous to a path table.
pub(super) fn router(deps: crate::Deps) -> Router {
    let checks = Arc::new(Semaphore::new(CHECKS_AT_ONCE));
    let door = Door { tables: deps.tables, access: deps.access, clock: deps.clock, checks };
    Router::new().fallback(answer).with_state(door)
}

async fn answer(State(door): State<Door>, request: Request) -> Response {
    let head = request.method() == Method::HEAD;
    match serve(door, request).await {
        Ok(response) => response,
        // A HEAD answer has no body; its status says everything.
        Err(fault) if head => fault.status().into_response(),
        Err(fault) => fault.into_response(),
    }
}

async fn serve(door: Door, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    // The guard has read the body already, and has limited it.
    let body = to_bytes(body, usize::MAX).await.map_err(|e| RestFault::bad(e.to_string()))?;
    let manages = head.uri.path().starts_with(management::ROOT);
    let route = if manages { Err(()) } else { Ok(route::parse(&head.method, &head.uri)) };
    if let Ok(Ok(Route::Tokens)) = route {
        return tokens::answer(&door, &head.headers, &body).await;
    }
    let caller = caller::of(&door, &head.headers)?;
    let mut asked = Asked {
        tables: door.tables.clone(),
        door,
        caller,
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body,
        once: Once::default(),
    };
    let Ok(route) = route else { return management::answer(&asked).await };
    let route = route?;
    asked.once = repeat::once(&asked)?;
    if let Some(answer) = repeat::noted(&asked, &route).await? {
        return Ok(answer);
    }
    match dispatch(&asked, &route).await {
        Err(fault) if fault.is_replay() => {
            let gone = || RestFault::bad("the same request was carried out at the same time");
            repeat::noted(&asked, &route).await?.ok_or_else(gone)
        }
        answer => answer,
    }
}

async fn dispatch(asked: &Asked, route: &Route) -> Answer {
    match route {
        // Answered before there is a caller.
        Route::Tokens => Err(RestFault::bad("a token request has no caller")),
        Route::Config => ok(&json!({
            "defaults": {},
            "overrides": {},
            "endpoints": ENDPOINTS,
            "idempotency-key-lifetime": format!("PT{}M", Once::LIFETIME_S / 60),
        })),
        Route::Namespaces { parent, page } => namespaces::list(asked, parent, page).await,
        Route::CreateNamespace => namespaces::create(asked).await,
        Route::Namespace(namespace) => namespaces::load(asked, namespace).await,
        Route::NamespaceExists(namespace) => namespaces::exists(asked, namespace).await,
        Route::UpdateNamespace(namespace) => namespaces::update(asked, namespace).await,
        Route::DropNamespace(namespace) => namespaces::drop(asked, namespace).await,
        Route::Tables { namespace, page } => tables_of::list(asked, namespace, page).await,
        Route::CreateTable(namespace) => tables_of::create(asked, namespace).await,
        Route::RegisterTable(namespace) => tables_of::register(asked, namespace).await,
        Route::Table { ident, snapshots } => tables_of::load(asked, ident, *snapshots).await,
        Route::TableExists(ident) => tables_of::exists(asked, ident).await,
        Route::CommitTable(ident) => tables_of::commit(asked, ident).await,
        Route::DropTable { ident, purge } => tables_of::drop(asked, ident, *purge).await,
        Route::Metrics(ident) => tables_of::metrics(asked, ident).await,
        Route::RenameTable => tables_of::rename(asked).await,
        Route::Transaction => tables_of::transaction(asked).await,
        Route::Views { namespace, page } => views::list(asked, namespace, page).await,
        Route::CreateView(namespace) => views::create(asked, namespace).await,
        Route::View(ident) => views::load(asked, ident).await,
        Route::ViewExists(ident) => views::exists(asked, ident).await,
        Route::ReplaceView(ident) => views::replace(asked, ident).await,
        Route::DropView(ident) => views::drop(asked, ident).await,
        Route::RenameView => views::rename(asked).await,
    }
}

impl Asked {
    fn body<T: DeserializeOwned>(&self) -> Result<T, RestFault> {
        serde_json::from_slice(&self.body)
            .map_err(|e| RestFault::bad(format!("Malformed request: the body does not parse: {e}")))
    }
}

fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}
