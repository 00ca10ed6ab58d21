//! What the rows of a topic depend on besides its records, stored in the log.
//!
//! Owns: following subjects, noting schemas that records bear and columns of JSON without a schema, where a table without
//! a backfill begins.
//! Does not own: what the stored values mean (queries/rows).
//! Invariants: all of it is durable before any record is read with it; lists only grow.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{ErrorKind, Fault, Offset, PartitionId, SchemaId};
use bytes::Bytes;
use queries::mode::{IcebergTopic, Section, Side, default_subject};
use queries::rows::{RecordSchema, SchemaSwitch, compile};
use queries::{SchemaSwitches, TopicRows, Unseen};
use schemas::{RegisteredSchema, Version};
use topics::{AtomicAppend, TopicInfo};

use crate::duties::Duties;
use crate::materialize::trouble::Trouble;

const SIDES: [Side; 2] = [Side::Key, Side::Value];

/// What is stored, verbatim.
pub(crate) fn stored(duties: &Duties, info: &TopicInfo) -> Option<Bytes> {
    duties.deps.topics.progress(&TopicRows::switches_writer(info.id)).and_then(|progress| progress.value)
}

/// What a stored value says.
pub(crate) fn parse(info: &TopicInfo, stored: Option<&Bytes>) -> Result<SchemaSwitches, Trouble> {
    let Some(stored) = stored else { return Ok(SchemaSwitches::default()) };
    serde_json::from_slice(stored).map_err(|e| {
        Trouble::Failed(format!("the stored schema switches of topic {} do not parse: {e}", info.name))
    })
}

/// Stores everything that holds from now on and is not stored yet: the latest schemas of followed subjects, the
/// schemas of the subjects that records usually take their ids from, where the table begins.
pub(crate) async fn follow(
    duties: &Duties,
    info: &TopicInfo,
    settings: &IcebergTopic,
) -> Result<(), Trouble> {
    let current = parse(info, stored(duties, info).as_ref())?;
    if !settings.backfill && current.begin.is_none() {
        change(duties, info, |switches| switches.begin = Some(ends(duties, info))).await?;
    }
    for side in SIDES {
        match settings.mode.section(side) {
            Section::SchemaLatest(_) => {
                let subject = settings.mode.subject(side, info.name.as_str()).unwrap_or_default();
                let current = current.of(side).last().map(|switch| switch.schema_id);
                if let Some(id) = newer(duties, info, side, &subject, current).await? {
                    switch_to(duties, info, settings, side, id).await?;
                }
            }
            Section::SchemaIdPrefix => {
                let known = current.named(side);
                let new = subject_schemas(duties, &default_subject(info.name.as_str(), side)).await?;
                let new: Vec<RecordSchema> = new.into_iter().filter(|id| !known.contains(id)).collect();
                note_schemas(duties, info, side, &new).await?;
            }
            Section::Binary | Section::String | Section::JsonInfer => {}
        }
    }
    Ok(())
}

/// Whether a followed subject has what is not stored yet.
pub(crate) async fn is_behind(
    duties: &Duties,
    info: &TopicInfo,
    settings: &IcebergTopic,
    current: &SchemaSwitches,
) -> bool {
    for side in SIDES {
        let behind = match settings.mode.section(side) {
            Section::SchemaLatest(_) => {
                let subject = settings.mode.subject(side, info.name.as_str()).unwrap_or_default();
                let ours = current.of(side).last().map(|switch| switch.schema_id);
                matches!(newer(duties, info, side, &subject, ours).await, Ok(Some(_)))
            }
            Section::SchemaIdPrefix => {
                let ids = subject_schemas(duties, &default_subject(info.name.as_str(), side)).await;
                ids.is_ok_and(|ids| ids.iter().any(|id| !current.named(side).contains(id)))
            }
            Section::Binary | Section::String | Section::JsonInfer => false,
        };
        if behind {
            return true;
        }
    }
    false
}

/// Stores schemas that records bear, and columns that they need. `stands`: the offsets that the table has next; new
/// columns hold from there on, for what is committed was decoded without them.
pub(crate) async fn note(
    duties: &Duties,
    info: &TopicInfo,
    unseen: &Unseen,
    stands: &BTreeMap<PartitionId, Offset>,
) -> Result<(), Trouble> {
    note_schemas(duties, info, Side::Key, &unseen.keys).await?;
    note_schemas(duties, info, Side::Value, &unseen.values).await?;
    let Some(grown) = &unseen.grown else { return Ok(()) };
    let mut taken = false;
    change(duties, info, |switches| {
        taken = switches.inferred.get_or_insert_default().take(grown, stands);
    })
    .await?;
    tracing::info!(topic = %info.name, era = grown.era, taken, "the topic's records have further fields");
    Ok(())
}

/// What would be stored if a topic had these properties: its latest schemas, all of them from the beginning.
pub(crate) async fn imagined(
    duties: &Duties,
    info: &TopicInfo,
    settings: &IcebergTopic,
) -> Result<SchemaSwitches, Trouble> {
    let mut switches = parse(info, stored(duties, info).as_ref())?;
    for side in SIDES {
        match settings.mode.section(side) {
            Section::SchemaLatest(_) => {
                let subject = settings.mode.subject(side, info.name.as_str()).unwrap_or_default();
                let current = switches.of(side).last().map(|switch| switch.schema_id);
                if let Ok(Some(schema_id)) = newer(duties, info, side, &subject, current).await {
                    switches.of_mut(side).push(SchemaSwitch { schema_id, starts: BTreeMap::new() });
                }
            }
            Section::SchemaIdPrefix => {
                let ids = subject_schemas(duties, &default_subject(info.name.as_str(), side)).await?;
                let known = switches.named_mut(side);
                known.extend(ids.into_iter().filter(|id| !known.contains(id)).collect::<Vec<_>>());
            }
            Section::Binary | Section::String | Section::JsonInfer => {}
        }
    }
    Ok(switches)
}

/// The latest schema of a subject when it is another one than `current`.
async fn newer(
    duties: &Duties,
    info: &TopicInfo,
    side: Side,
    subject: &str,
    current: Option<SchemaId>,
) -> Result<Option<SchemaId>, Trouble> {
    let (registry, name) = (duties.deps.registry.clone(), subject.to_owned());
    let latest = duties.deps.compute.spawn_blocking(move || registry.version(&name, Version::Latest)).await?;
    match latest {
        Ok(found) => Ok(Some(found.schema.id).filter(|id| Some(*id) != current)),
        Err(error) if error.kind() == ErrorKind::Unavailable => Err(Trouble::failed(&error)),
        Err(_) if current.is_some() => Ok(None),
        Err(_) => Err(Trouble::Waiting(format!(
            "topic {} waits for a {} schema: register one under subject {subject}",
            info.name,
            side.as_str()
        ))),
    }
}

/// Schemas of the versions of a subject, oldest first; none when there is no such subject. Of a Protobuf file with several
/// messages only records tell which one they are: columns of the first one would stay for ever.
async fn subject_schemas(duties: &Duties, subject: &str) -> Result<Vec<RecordSchema>, Trouble> {
    let (registry, subject) = (duties.deps.registry.clone(), subject.to_owned());
    let ids = move || {
        let versions = registry.versions(&subject, false).unwrap_or_default();
        let found = versions.into_iter().map(|v| registry.version(&subject, Version::Number(v)));
        let known = |schema: &RegisteredSchema| schema.has_one_type().then(|| RecordSchema::of(schema));
        found.filter_map(|version| known(&version.ok()?.schema)).collect()
    };
    Ok(duties.deps.compute.spawn_blocking(ids).await?)
}

/// Stores that one side of a topic's records has schema `id` from its present end on; the first schema, and the first
/// that can become columns, from the beginning.
async fn switch_to(
    duties: &Duties,
    info: &TopicInfo,
    settings: &IcebergTopic,
    side: Side,
    id: SchemaId,
) -> Result<(), Trouble> {
    let registry = duties.deps.registry.clone();
    let usable = |id: SchemaId| compile(&registry, id, settings.mode.section(side), side).is_ok();
    let ends = || appended(duties, info);
    change(duties, info, |switches| {
        let switches = switches.of_mut(side);
        if switches.last().is_some_and(|switch| switch.schema_id == id) {
            return;
        }
        // With schemas of which no columns can be made, nothing was ever read.
        if !switches.iter().any(|switch| usable(switch.schema_id)) {
            switches.clear();
        }
        let mut starts = ends();
        if switches.is_empty() {
            starts.values_mut().for_each(|start| *start = 0);
        }
        switches.push(SchemaSwitch { schema_id: id, starts });
    })
    .await?;
    tracing::info!(topic = %info.name, side = side.as_str(), schema = id, "the topic's schema has switched");
    Ok(())
}

async fn note_schemas(
    duties: &Duties,
    info: &TopicInfo,
    side: Side,
    new: &[RecordSchema],
) -> Result<(), Trouble> {
    if new.is_empty() {
        return Ok(());
    }
    change(duties, info, |switches| {
        let known = switches.named_mut(side);
        for id in new {
            if !known.contains(id) {
                known.push(id.clone());
            }
        }
    })
    .await?;
    tracing::info!(topic = %info.name, side = side.as_str(), schemas = ?new, "the topic has further schemas");
    Ok(())
}

fn appended(duties: &Duties, info: &TopicInfo) -> BTreeMap<PartitionId, Offset> {
    marks(duties, info, |partition| partition.marks().appended)
}

/// Ends that every later cut is beyond.
fn ends(duties: &Duties, info: &TopicInfo) -> BTreeMap<PartitionId, Offset> {
    marks(duties, info, topics::Partition::cut_mark)
}

fn marks(
    duties: &Duties,
    info: &TopicInfo,
    mark: impl Fn(&topics::Partition) -> Offset,
) -> BTreeMap<PartitionId, Offset> {
    let of = |index| duties.deps.topics.partition(info.name.as_str(), index).map_or(0, |p| mark(&p));
    (0..info.partitions).map(|index| (index, of(index))).collect()
}

/// Changes what is stored. The gate is held, so that marks and schemas belong together.
async fn change(
    duties: &Duties,
    info: &TopicInfo,
    change: impl FnOnce(&mut SchemaSwitches),
) -> Result<(), Trouble> {
    let topics = &duties.deps.topics;
    let writer = TopicRows::switches_writer(info.id);
    let _gate = duties.schema_gate.lock().await;
    let claimed = topics.claim_writer(&writer).await?;
    let before = parse(info, claimed.value.as_ref())?;
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Ok(());
    }
    let most = SIDES.map(|side| after.of(side).len().max(after.named(side).len())).into_iter().max();
    if most.unwrap_or(0) > duties.settings.switches_max {
        return Err(Trouble::Failed(format!(
            "topic {} has had {} schemas, which is the limit; start a new topic",
            info.name, duties.settings.switches_max
        )));
    }
    let progress = serde_json::to_vec(&after).map_err(|e| Trouble::failed(&e))?;
    let append =
        AtomicAppend { writer, epoch: claimed.epoch, batches: Vec::new(), progress: Bytes::from(progress) };
    topics.append_atomically(append).await?;
    Ok(())
}

/// The rows of a topic as stored.
pub(crate) async fn topic_rows(duties: &Duties, info: &Arc<TopicInfo>) -> Result<TopicRows, Trouble> {
    let (topics, registry, info) =
        (duties.deps.topics.clone(), duties.deps.registry.clone(), Arc::clone(info));
    let made = duties.deps.compute.spawn_blocking(move || TopicRows::new(&topics, &registry, info)).await?;
    Ok(made?)
}
