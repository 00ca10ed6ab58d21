//! Contexts.
//!
//! Owns: the paths under `/contexts` that are about contexts themselves.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::request::Target;
use super::{Answer, ok, registry_work};

pub(super) async fn list(target: Target) -> Answer {
    ok(&json!(target.page(target.registry.contexts())?))
}

pub(super) async fn delete(target: Target) -> Answer {
    let registry = target.registry;
    registry_work(move || registry.delete_context()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
