//! Registering a schema that topics follow.
//!
//! Owns: the order: register, store what the topics know of it, evolve the tables.
//! Does not own: the registry, the stored form.
//! Invariants: a table never keeps a schema from being registered; what it cannot take is in its status.

use std::sync::Arc;

use queries::mode::{IcebergTopic, Section, Side, default_subject};
use schemas::{Registration, SubjectVersion};
use topics::TopicInfo;

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::{self, Trouble};

/// Registers a schema; topics that follow the subject know it when this returns. `subject` may name a context; topics
/// follow subjects of the default one.
pub(crate) async fn register(
    duties: &Arc<Duties>,
    subject: &str,
    schema: Registration,
) -> Result<SubjectVersion, CommandError> {
    let _changes = duties.changes.lock().await;
    let (registry, name) = duties.deps.registry.locate(subject)?;
    let name = name.to_owned();
    let registered = duties.blocking(move || registry.register(&name, schema)).await?;
    for info in &following(duties, &registered.subject) {
        let name = info.name.as_str();
        match materialize::prepare(duties, info).await {
            // It goes on waiting, or its status says what is wrong.
            Ok(_) | Err(Trouble::Waiting(_) | Trouble::Stopped(..)) => {}
            Err(trouble) => return Err(trouble.answer(name)),
        }
        if let Some(link) = duties.table_link(info.id) {
            link.look_again.notify_one();
        }
    }
    Ok(registered)
}

/// Topics whose keys or values have schemas of `subject`.
fn following(duties: &Duties, subject: &str) -> Vec<Arc<TopicInfo>> {
    let follows = |info: &Arc<TopicInfo>| {
        let Ok(Some(settings)) = IcebergTopic::of(info) else { return false };
        let name = info.name.as_str();
        [Side::Key, Side::Value].into_iter().any(|side| match settings.mode.section(side) {
            Section::SchemaIdPrefix => default_subject(name, side) == subject,
            _ => settings.mode.subject(side, name).as_deref() == Some(subject),
        })
    };
    duties.deps.topics.list().into_iter().filter(follows).collect()
}
