//! Registering a schema that topics follow.
//!
//! Owns: the order: check every following table, register, store the switches, widen the tables.
//! Does not own: the registry, the switches' form.

use std::sync::Arc;

use queries::mode::{IcebergMode, IcebergTopic};
use schemas::{NewSchema, SubjectVersion, Version};
use topics::TopicInfo;

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::{self, Trouble};

/// Registers a schema; topics that follow the subject have switched to it when this returns.
pub(crate) async fn register(
    duties: &Arc<Duties>,
    subject: &str,
    schema: NewSchema,
) -> Result<SubjectVersion, CommandError> {
    let _changes = duties.changes.lock().await;
    let following = following(duties, subject);
    for info in &following {
        materialize::check_schema(duties, info, &schema).await?;
    }
    let (registry, name) = (duties.deps.registry.clone(), subject.to_owned());
    let registered = duties.blocking(move || registry.register(&name, schema)).await?;
    let (registry, name) = (duties.deps.registry.clone(), subject.to_owned());
    let latest = duties.blocking(move || registry.version(&name, Version::Latest)).await?;
    // Registering what an older version holds leaves the latest as it was, and so what topics follow.
    if latest.version == registered.version {
        for info in &following {
            switch(duties, info, &registered).await?;
        }
    }
    Ok(registered)
}

async fn switch(
    duties: &Arc<Duties>,
    info: &Arc<TopicInfo>,
    registered: &SubjectVersion,
) -> Result<(), CommandError> {
    let failed = |trouble: Trouble| trouble.answer(info.name.as_str());
    materialize::switch_to(duties, info, registered.schema.id).await.map_err(failed)?;
    materialize::prepare(duties, info).await.map_err(failed)?;
    if let Some(link) = duties.table_link(info.id) {
        link.look_again.notify_one();
    }
    Ok(())
}

/// Topics whose values have the latest schema of `subject`.
fn following(duties: &Duties, subject: &str) -> Vec<Arc<TopicInfo>> {
    let follows = |info: &Arc<TopicInfo>| match IcebergTopic::of(info) {
        Ok(Some(settings)) => {
            matches!(&settings.mode, IcebergMode::ValueSchemaLatest { subject: followed } if followed == subject)
        }
        _ => false,
    };
    duties.deps.topics.list().into_iter().filter(follows).collect()
}
