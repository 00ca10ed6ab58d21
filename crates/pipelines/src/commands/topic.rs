//! Topics that may be tables: create, change, delete.
//!
//! Owns: the order of steps over log and tables, such that a crash between two of them is made good at the next start.
//! Does not own: what a topic or a table is.

use std::sync::Arc;

use base::{Offset, PartitionId, TopicId, TopicName};
use queries::mode::{DEAD_LETTER_SUFFIX, IcebergTopic};
use tables::{CatalogError, TableIdent};
use topics::{DeleteRecordsError, NewTopic, TopicConfig, TopicError, TopicInfo};

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::{self, Trouble};

/// Checks a topic without creating it.
pub(crate) fn validate(duties: &Duties, topic: &NewTopic) -> Result<(), CommandError> {
    duties.deps.topics.validate(topic)?;
    check(duties, &imagined(topic)?)
}

/// Creates a topic, and its table when its columns are known.
pub(crate) async fn create(duties: &Arc<Duties>, topic: NewTopic) -> Result<Arc<TopicInfo>, CommandError> {
    let _changes = duties.changes.lock().await;
    let imagined = Arc::new(imagined(&topic)?);
    check(duties, &imagined)?;
    if duties.deps.topics.topic(&topic.name).is_none() {
        materialize::check_topic(duties, &imagined).await?;
        materialize::check_partitioning(duties, &imagined).await?;
    }
    let topics = duties.deps.topics.clone();
    let info = duties.blocking(move || topics.create(topic)).await?;
    ready(duties, &info).await?;
    duties.reconcile().await;
    Ok(info)
}

pub(crate) async fn alter(
    duties: &Arc<Duties>,
    name: &str,
    changes: &[(String, Option<String>)],
) -> Result<Arc<TopicInfo>, CommandError> {
    let _changes = duties.changes.lock().await;
    let before = find(duties, name)?;
    let mut after = TopicInfo::clone(&before);
    for (property, value) in changes {
        after.config.set(property, value.as_deref())?;
    }
    after.config.check_together()?;
    let after = Arc::new(after);
    check(duties, &after)?;
    let partitioned = changes_of_table(duties, &before, &after).await?;
    materialize::check_topic(duties, &after).await?;
    let says = |info: &TopicInfo| {
        ["redpanda.iceberg.mode", "redpanda.iceberg.partition.spec"]
            .map(|p| info.config.get(p).map(str::to_owned))
    };
    if says(&before) != says(&after) {
        materialize::check_partitioning(duties, &after).await?;
    }
    let (topics, owned, changes) = (duties.deps.topics.clone(), name.to_owned(), changes.to_vec());
    let info = duties.blocking(move || topics.alter_config(&owned, &changes)).await?;
    if let Some((ident, spec)) = partitioned {
        duties.deps.tables.set_partition_spec(&ident, &spec).await?;
    }
    ready(duties, &info).await?;
    duties.reconcile().await;
    Ok(info)
}

pub(crate) async fn add_partitions(
    duties: &Arc<Duties>,
    name: &str,
    total: i32,
) -> Result<Arc<TopicInfo>, CommandError> {
    let _changes = duties.changes.lock().await;
    let (topics, name) = (duties.deps.topics.clone(), name.to_owned());
    duties.blocking(move || topics.add_partitions(&name, total)).await
}

/// Deletes records; when a table has to read them first, it commits, once.
pub(crate) async fn delete_records(
    duties: &Arc<Duties>,
    name: &str,
    partition: PartitionId,
    before: Option<Offset>,
) -> Result<Offset, CommandError> {
    let delete = |before: Option<Offset>| {
        let (topics, name) = (duties.deps.topics.clone(), name.to_owned());
        duties.blocking(move || topics.delete_records(&name, partition, before))
    };
    // What "everything" is does not move on while the table commits.
    let before = before.or_else(|| Some(duties.deps.topics.partition(name, partition)?.marks().durable));
    let refused = match delete(before).await {
        Err(CommandError::DeleteRecords(refused @ DeleteRecordsError::TableBehind { .. })) => refused,
        outcome => return outcome,
    };
    let link = find(duties, name).ok().and_then(|info| duties.table_link(info.id));
    match link {
        Some(link) if link.commit_now().await.is_ok() => delete(before).await,
        _ => Err(refused.into()),
    }
}

/// Deletes a topic: a table that goes with it goes first, one that stays is committed first.
pub(crate) async fn delete(duties: &Arc<Duties>, name: &str) -> Result<TopicId, CommandError> {
    let _changes = duties.changes.lock().await;
    let info = find(duties, name)?;
    // Properties that cannot be read any more must not keep a topic from being deleted; its table stays.
    let settings = IcebergTopic::of(&info).ok().flatten();
    match settings {
        Some(settings) if settings.delete_with_topic => {
            duties.stop_table(info.id).await;
            // The table first: when the node stops in between, the topic makes it again.
            let tables = &duties.deps.tables;
            drop_tables(duties, [settings.table(tables), settings.dead_letter_table(tables)]).await?;
        }
        Some(_) => {
            commit_what_is_left(duties, &info).await?;
            duties.stop_table(info.id).await;
        }
        None => {}
    }
    let (topics, owned) = (duties.deps.topics.clone(), name.to_owned());
    let deleted = duties.blocking(move || topics.delete(&owned)).await;
    // When the deletion was refused, the topic is materialized again.
    duties.reconcile().await;
    deleted
}

async fn commit_what_is_left(duties: &Duties, info: &TopicInfo) -> Result<(), CommandError> {
    let Some(link) = duties.table_link(info.id) else { return Ok(()) };
    if link.view.lock().state == materialize::State::Waiting {
        // Without a schema there is no table that could stay.
        return Ok(());
    }
    link.commit_now().await.map(drop).map_err(|error| {
        CommandError::Conflict(format!(
            "topic {name} is not deleted, because its table stays (redpanda.iceberg.delete=false) and cannot take what \
             is left in the topic: {error}. Set redpanda.iceberg.mode=disabled to delete the topic without that",
            name = info.name
        ))
    })
}

async fn drop_tables(duties: &Duties, idents: [TableIdent; 2]) -> Result<(), CommandError> {
    for ident in idents {
        let tables = duties.deps.tables.clone();
        let dropped = duties.deps.compute.spawn(async move { tables.drop(&ident, true).await }).await;
        match dropped.map_err(|e| CommandError::Internal(e.to_string()))? {
            Ok(()) | Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(crate) fn find(duties: &Duties, name: &str) -> Result<Arc<TopicInfo>, CommandError> {
    let missing = || CommandError::Topic(TopicError::NotFound(name.to_owned()));
    duties.deps.topics.topic(name).ok_or_else(missing)
}

/// Makes table and schema switch ready as far as the schema is known.
async fn ready(duties: &Arc<Duties>, info: &Arc<TopicInfo>) -> Result<(), CommandError> {
    if IcebergTopic::of(info).map_err(CommandError::Invalid)?.is_none() {
        return Ok(());
    }
    let (shared, topic) = (Arc::clone(duties), Arc::clone(info));
    let prepared =
        duties.deps.compute.spawn(async move { materialize::prepare(&shared, &topic).await.map(drop) });
    match prepared.await.map_err(|e| CommandError::Internal(e.to_string()))? {
        Ok(()) | Err(Trouble::Waiting(_) | Trouble::Stopped(..)) => Ok(()),
        Err(trouble) => Err(trouble.answer(info.name.as_str())),
    }
}

/// The topic as it would be.
fn imagined(topic: &NewTopic) -> Result<TopicInfo, CommandError> {
    let invalid = |e: base::ids::InvalidTopicName| CommandError::Topic(e.into());
    Ok(TopicInfo {
        id: TopicId::random(),
        name: TopicName::new(&topic.name).map_err(invalid)?,
        partitions: topic.partitions.unwrap_or(1),
        created_ms: 0,
        config: TopicConfig::new(&topic.config)?,
    })
}

fn check(duties: &Duties, info: &TopicInfo) -> Result<(), CommandError> {
    let Some(settings) = IcebergTopic::of(info).map_err(CommandError::Invalid)? else { return Ok(()) };
    let ident = settings.table(&duties.deps.tables);
    let (topic, name) = (&info.name, &ident.name);
    let refuse = |why: String| Err(CommandError::Invalid(format!("topic {topic} cannot be a table: {why}")));
    if name.starts_with('.') || name.contains("..") {
        return refuse("a table's name may not begin with a dot or contain two in a row".into());
    }
    if name.ends_with(DEAD_LETTER_SUFFIX) {
        return refuse(format!("names that end with {DEAD_LETTER_SUFFIX} belong to dead-letter tables"));
    }
    let (topics, tables) = (&duties.deps.topics, &duties.deps.tables);
    match queries::mode::topic_of(topics, tables, &ident) {
        Some((other, _)) if other.name != *topic => {
            refuse(format!("table {ident} belongs to topic {}; set another frazil.table.name", other.name))
        }
        _ => Ok(()),
    }
}

/// What a change of properties means for a table that is there: it keeps its name, and may get another spec, which is
/// checked against its columns.
async fn changes_of_table(
    duties: &Duties,
    before: &TopicInfo,
    after: &TopicInfo,
) -> Result<Option<(TableIdent, String)>, CommandError> {
    let tables = &duties.deps.tables;
    let settings = |info: &TopicInfo| IcebergTopic::of(info).ok().flatten();
    let (Some(had), Some(wanted)) = (settings(before), settings(after)) else { return Ok(None) };
    let (ident, name) = (had.table(tables), &before.name);
    let table = match tables.load(&ident).await {
        Ok(table) => table,
        Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if wanted.table(tables) != ident {
        return Err(CommandError::Invalid(format!(
            "topic {name} is table {ident} and stays that: switch the table off first (redpanda.iceberg.mode=disabled)"
        )));
    }
    let (had, wanted) = (had.partitioning(tables), wanted.partitioning(tables));
    if had == wanted {
        return Ok(None);
    }
    table.accepts_partition_spec(wanted)?;
    Ok(Some((ident, wanted.to_owned())))
}
