//! The start: groups and offsets as `__consumer_offsets` tells them.
//!
//! Owns: replaying the records (GroupMetadataManager.doLoadGroupsAndOffsets).
//! Does not own: what the records mean (`crate::groups::records`).
//! Invariants: the state is a function of the records below the durable mark, in their order; a record that makes no
//! sense is left out and told of, because a node that does not start helps nobody.

use super::*;
use crate::batch::{BatchView, Batches, RecordView};
use crate::embedded::partition::PartitionState;
use crate::error::{OpenError, ReadError};
use crate::groups::consumer::ConsumerGroup;
use crate::groups::consumer::records::ConsumerKey;
use crate::groups::offsets::Stored;
use crate::groups::records::{GroupValue, OffsetValue};

/// Read at once.
const READ_BYTES: usize = 4 << 20;

/// What was read so far.
#[derive(Debug, Default)]
struct Loaded {
    groups: HashMap<String, GroupValue>,
    consumers: HashMap<String, ConsumerGroup>,
    offsets: HashMap<String, GroupOffsets>,
    skipped: usize,
}

impl Loaded {
    fn offsets_of(&mut self, group: String) -> &mut GroupOffsets {
        self.offsets.entry(group).or_default()
    }

    fn replay(&mut self, batch: &BatchView, limit: usize, durable: Offset) {
        let Ok(records) = batch.records(limit) else {
            self.skipped += 1;
            return;
        };
        for record in &records {
            let applied = record.ok().and_then(|record| {
                if batch.is_control() {
                    self.end(batch.producer_id(), &record, durable)
                } else {
                    let producer = batch.is_transactional().then(|| batch.producer_id());
                    self.apply(&record, producer, durable)
                }
            });
            if applied.is_none() {
                self.skipped += 1;
            }
        }
    }

    /// A marker: type 0 aborts, 1 commits (version and type have two bytes each).
    fn end(&mut self, producer: i64, record: &RecordView<'_>, durable: Offset) -> Option<()> {
        let committed = *record.key?.get(3)? == 1;
        for offsets in self.offsets.values_mut() {
            offsets.transaction_ended(producer, committed, durable);
        }
        Some(())
    }

    fn apply(&mut self, record: &RecordView<'_>, producer: Option<i64>, durable: Offset) -> Option<()> {
        match (Key::decode(record.key?)?, record.value) {
            (Key::Offset { group, topic, partition }, Some(value)) => {
                let stored = Stored { at: record.offset, value: OffsetValue::decode(value)? };
                let offsets = self.offsets_of(group);
                match producer {
                    Some(producer) => offsets.put_pending(producer, (topic, partition), stored),
                    None => offsets.put((topic, partition), stored, durable),
                }
            }
            (Key::Offset { group, topic, partition }, None) => {
                self.offsets_of(group).remove(&(topic, partition));
            }
            (Key::Group { group }, Some(value)) => {
                let value = GroupValue::decode(value)?;
                self.consumers.remove(&group);
                self.groups.insert(group, value);
            }
            (Key::Group { group }, None) => {
                self.groups.remove(&group);
            }
            (Key::Consumer(key), value) => self.apply_consumer(&key, value)?,
            (Key::Unknown(version), _) => tracing::debug!(version, "a record of groups of an unknown kind"),
        }
        Some(())
    }

    fn apply_consumer(&mut self, key: &ConsumerKey, value: Option<&[u8]>) -> Option<()> {
        let group = key.group();
        if let (ConsumerKey::Epoch { .. }, None) = (key, value) {
            self.consumers.remove(group);
            return Some(());
        }
        if value.is_none() && !self.consumers.contains_key(group) {
            return Some(());
        }
        self.groups.remove(group);
        // Deadlines begin once everything is read.
        let now = Now { steady: 0, wall: 0 };
        self.consumers.entry(group.to_owned()).or_default().replay(key, value, now)
    }

    fn into_state(self, shared: &Shared, now: Now) -> State {
        let mut state = State::default();
        for (name, value) in self.groups {
            let mut group = Group::new(Machine::Classic(ClassicGroup::restore(value, now)));
            group.in_log = true;
            state.groups.insert(name.into(), group);
        }
        for (name, mut machine) in self.consumers {
            machine.restored(now, &shared.settings.groups, shared);
            let mut group = Group::new(Machine::Consumer(machine));
            group.in_log = true;
            state.groups.insert(name.into(), group);
        }
        for (name, offsets) in self.offsets {
            if offsets.is_empty() {
                continue;
            }
            let name: Name = name.into();
            for producer in offsets.producers() {
                state.transactions.entry(producer).or_default().insert(Arc::clone(&name));
            }
            let group = state
                .groups
                .entry(name)
                .or_insert_with(|| Group::new(Machine::Classic(ClassicGroup::new(now))));
            group.offsets = offsets;
        }
        for (name, group) in &mut state.groups {
            if let Some(wake) = group.machine.wake() {
                group.scheduled = Some(wake);
                state.schedule.insert((wake, Arc::clone(name)));
            }
        }
        state
    }
}

fn open_error(error: ReadError) -> OpenError {
    match error {
        ReadError::Damaged { file, position, reason } => OpenError::Damaged { file, position, reason },
        other => OpenError::Io {
            context: format!("reading {CONSUMER_OFFSETS}"),
            source: std::io::Error::other(other.to_string()),
        },
    }
}

fn read_all(partition: &PartitionState, limit: usize) -> Result<Loaded, ReadError> {
    let mut loaded = Loaded::default();
    let durable = partition.durable();
    let mut next = partition.log_start();
    while next < durable {
        let read = partition.read(next, durable, READ_BYTES)?;
        if read.bytes.is_empty() {
            break;
        }
        for batch in Batches::new(&read.bytes) {
            match batch {
                Ok(batch) => loaded.replay(&batch, limit, durable),
                Err(_) => loaded.skipped += 1,
            }
        }
        next = read.next;
    }
    Ok(loaded)
}

/// Reads all groups and offsets. Blocking.
pub(crate) fn load(shared: &Shared) -> Result<(), OpenError> {
    let Ok((_, partition)) = shared.topic_and_partition(CONSUMER_OFFSETS, PARTITION) else { return Ok(()) };
    let loaded = read_all(&partition, shared.settings.decompressed_bytes_max).map_err(open_error)?;
    if loaded.skipped > 0 {
        tracing::warn!(
            records = loaded.skipped,
            "records of {CONSUMER_OFFSETS} cannot be read and are left out"
        );
    }
    let state = loaded.into_state(shared, shared.group_now());
    tracing::debug!(groups = state.groups.len(), "groups are loaded");
    *shared.groups.state.lock() = state;
    Ok(())
}

/// A producer's transaction has ended, and its markers are durable: what it stored counts from now on, or never.
/// Call it with none of the log's locks held.
pub(crate) fn transaction_ended(shared: &Shared, producer_id: i64, committed: bool) {
    let durable = shared.groups_durable();
    let mut state = shared.groups.state.lock();
    for name in state.transactions.remove(&producer_id).unwrap_or_default() {
        if let Some(group) = state.groups.get_mut(&name) {
            group.offsets.transaction_ended(producer_id, committed, durable);
            if group.is_void() {
                state.forget(&name);
            }
        }
    }
}
