//! Whether a schema could be registered.
//!
//! Owns: the paths under `/compatibility`.

use axum::body::Bytes;
use schemas::Version;
use serde_json::json;

use super::request::{Target, registration};
use super::{Answer, ok, registry_work};

/// Against the versions that the level of the subject names.
pub(super) async fn check_all(target: Target, body: Bytes) -> Answer {
    check(target, &body, None).await
}

/// Against one version.
pub(super) async fn check_one(target: Target, body: Bytes) -> Answer {
    let version = target.version()?;
    check(target, &body, Some(version)).await
}

async fn check(target: Target, body: &[u8], against: Option<Version>) -> Answer {
    let (schema, verbose) = (registration(&target, body)?, target.flag("verbose")?);
    let Target { registry, subject, .. } = target.aliased()?;
    let messages = registry_work(move || registry.incompatibilities(&subject, schema, against)).await?;
    let mut answer = json!({"is_compatible": messages.is_empty()});
    if verbose {
        answer["messages"] = json!(messages);
    }
    ok(&answer)
}
