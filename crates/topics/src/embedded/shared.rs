//! What all parts of an open log share.
//!
//! Owns: the map of topics, the named writers, the lock under which marks move together, the offline switch.
//! Does not own: the threads, the files of partitions.
//! Invariants, order of locks: transactions → named writers → a partition's `appending` (several: by topic id and
//! index) → the queue; `publishing` is taken with nothing held; the named writers and a partition's `settled` may be
//! taken inside it; `settled` is taken with nothing else of the partition held, and nothing is taken inside it.
//! `upkeep` → `log_starts` → a partition's `segments` or `appending`.
//! The groups' lock comes before all of these and after `admin`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{Offset, PartitionId, SharedClock, TopicId, TopicName};
use parking_lot::{Mutex, RwLock};
use storage::{Control, DataDirectory, layout};
use tokio::sync::watch;

use super::cuts::Held;
use super::files::Files;
use super::groups::GroupCoordinator;
use super::partition::{PartitionParts, PartitionState};
use super::queue::Queue;
use super::space::SpaceGuard;
use super::transactions::Coordinator;
use crate::batch::check::Rules;
use crate::error::AppendError;
use crate::log::{Progress, ProgressValue, WriterId};
use crate::settings::Settings;
use crate::topic::{TopicConfig, TopicInfo};

/// A topic as it is now; replaced whole when it changes.
#[derive(Debug)]
pub(crate) struct TopicState {
    pub info: Arc<TopicInfo>,
    pub rules: Rules,
    pub partitions: Vec<Arc<PartitionState>>,
}

impl TopicState {
    pub(crate) fn partition(&self, index: PartitionId) -> Option<&Arc<PartitionState>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

#[derive(Debug, Default)]
pub(crate) struct TopicMap {
    pub by_name: BTreeMap<TopicName, Arc<TopicState>>,
    pub by_id: HashMap<TopicId, TopicName>,
}

impl TopicMap {
    /// A partition of a topic in that life.
    pub(crate) fn partition(&self, topic: TopicId, index: PartitionId) -> Option<Arc<PartitionState>> {
        self.by_name.get(self.by_id.get(&topic)?)?.partition(index).cloned()
    }
}

/// Named writers of atomic appends.
#[derive(Debug, Default)]
pub(crate) struct Writers(HashMap<WriterId, Writer>);

#[derive(Debug, Default)]
struct Writer {
    /// Epoch of the newest claim, durable or not yet.
    claimed: i64,
    /// What is durable; none before the first claim is.
    durable: Option<Progress>,
}

impl Writers {
    pub(crate) fn claimed(&self, id: &WriterId) -> i64 {
        self.0.get(id).map_or(0, |w| w.claimed)
    }
    pub(crate) fn claim(&mut self, id: &WriterId, epoch: i64) {
        self.0.entry(id.clone()).or_default().claimed = epoch;
    }
    pub(crate) fn progress(&self, id: &WriterId) -> Option<Progress> {
        self.0.get(id)?.durable.clone()
    }
    /// Notes a step that is durable.
    pub(crate) fn apply(&mut self, id: &WriterId, epoch: i64, value: Option<&ProgressValue>) {
        let writer = self.0.entry(id.clone()).or_default();
        writer.claimed = writer.claimed.max(epoch);
        let known = writer.durable.get_or_insert(Progress { epoch, value: None });
        known.epoch = known.epoch.max(epoch);
        if let Some(value) = value {
            known.value = Some(value.clone());
        }
    }
    pub(crate) fn durable(&self) -> impl Iterator<Item = (&WriterId, &Progress)> {
        self.0.iter().filter_map(|(id, writer)| Some((id, writer.durable.as_ref()?)))
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub settings: Settings,
    pub directory: DataDirectory,
    pub control: Control,
    pub clock: SharedClock,
    pub leader_epoch: i32,
    pub files: Arc<Files>,
    pub topics: RwLock<TopicMap>,
    /// One change of topics at a time.
    pub admin: Mutex<()>,
    pub topics_changed: watch::Sender<u64>,
    pub queue: Queue,
    pub writers: Mutex<Writers>,
    pub transactions: Mutex<Coordinator>,
    /// Held while the marks of finished work move, and while a cut is taken.
    pub publishing: Mutex<Held>,
    pub space: SpaceGuard,
    /// Properties that the node has for all topics, by request.
    pub node_config: RwLock<TopicConfig>,
    /// Held while log starts move.
    pub log_starts: Mutex<()>,
    /// Held by a run of upkeep; closing takes it last.
    pub upkeep: Mutex<()>,
    /// The log ends: upkeep stops where it is.
    pub ending: AtomicBool,
    /// Producer ids that were taken from the control store: next, end.
    pub producer_ids: Mutex<(i64, i64)>,
    /// The group coordinator.
    pub groups: GroupCoordinator,
    /// What recovery found that an operator should know.
    pub alarms: Vec<String>,
    offline: RwLock<Option<String>>,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "what recovery found, each part once")]
    pub(crate) fn new(
        settings: Settings,
        deps: super::Deps,
        leader_epoch: i32,
        files: Arc<Files>,
        topics: TopicMap,
        writers: Writers,
        held: Held,
        alarms: Vec<String>,
    ) -> Self {
        Self {
            leader_epoch,
            queue: Queue::new(settings.unsynced_bytes_max),
            space: SpaceGuard::new(&deps.directory, settings.reserve_bytes, settings.recovery_bytes),
            files,
            topics: RwLock::new(topics),
            admin: Mutex::default(),
            topics_changed: watch::Sender::new(0),
            writers: Mutex::new(writers),
            transactions: Mutex::default(),
            publishing: Mutex::new(held),
            node_config: RwLock::default(),
            log_starts: Mutex::default(),
            upkeep: Mutex::default(),
            ending: AtomicBool::new(false),
            producer_ids: Mutex::default(),
            groups: GroupCoordinator::new(),
            alarms,
            offline: RwLock::default(),
            settings,
            directory: deps.directory,
            control: deps.control,
            clock: deps.clock,
        }
    }

    pub(crate) fn topic(&self, name: &str) -> Option<Arc<TopicState>> {
        self.topics.read().by_name.get(name).cloned()
    }

    pub(crate) fn topic_and_partition(
        &self,
        topic: &str,
        partition: PartitionId,
    ) -> Result<(Arc<TopicState>, Arc<PartitionState>), AppendError> {
        let unknown = || AppendError::UnknownPartition { topic: topic.to_owned(), partition };
        let state = self.topic(topic).ok_or_else(unknown)?;
        let found = Arc::clone(state.partition(partition).ok_or_else(unknown)?);
        Ok((state, found))
    }

    /// All topics.
    pub(crate) fn all_topics(&self) -> Vec<Arc<TopicState>> {
        self.topics.read().by_name.values().cloned().collect()
    }

    /// All partitions of all topics.
    pub(crate) fn partitions(&self) -> Vec<Arc<PartitionState>> {
        self.topics.read().by_name.values().flat_map(|t| t.partitions.iter().cloned()).collect()
    }

    pub(crate) fn offline(&self) -> Option<String> {
        // A control store that cannot be written is of the same directory.
        self.offline.read().clone().or_else(|| self.control.failure().map(str::to_owned))
    }

    /// Ends appending for good: after a failed write or fsync nobody knows what the disk holds.
    pub(crate) fn go_offline(&self, reason: &str) {
        let mut offline = self.offline.write();
        if offline.is_none() {
            tracing::error!(reason, "the log goes offline");
            *offline = Some(reason.to_owned());
            self.queue.close(reason);
        }
    }

    pub(crate) fn note_topics_changed(&self) {
        self.topics_changed.send_modify(|version| *version += 1);
    }

    /// One vector of stable marks: none moves while it is taken.
    pub(crate) fn stable_marks(&self) -> BTreeMap<(TopicId, PartitionId), Offset> {
        // Locked before the look at the topics: an append that is in a mark must have all its partitions in the cut.
        let _still = self.publishing.lock();
        self.partitions().iter().map(|p| ((p.topic, p.index), p.cut_mark())).collect()
    }
}

/// A topic's state without its partitions' contents.
pub(crate) fn topic_state(
    settings: &Settings,
    directory: &DataDirectory,
    files: &Arc<Files>,
    info: Arc<TopicInfo>,
    known: &[Arc<PartitionState>],
) -> TopicState {
    let config = &info.config;
    let segment_bytes = config.get("segment.bytes").and_then(|v| v.trim().parse().ok());
    let segment_bytes = segment_bytes.unwrap_or(settings.segment_bytes);
    let message_bytes = config.get("max.message.bytes").and_then(|v| v.trim().parse().ok());
    let rules = Rules {
        message_bytes_max: message_bytes.unwrap_or(settings.message_bytes_max),
        decompressed_bytes_max: settings.decompressed_bytes_max,
        key_required: config.is_compacted(),
        log_append_time: config.stamps_records(),
        before_max_ms: config.number("message.timestamp.before.max.ms", i64::MAX),
        after_max_ms: config.number("message.timestamp.after.max.ms", i64::MAX),
    };
    let interval = config.get("index.interval.bytes").and_then(|v| v.trim().parse().ok());
    for partition in known {
        partition.segment_bytes.store(segment_bytes, Ordering::Relaxed);
    }
    let more = (known.len()..usize::try_from(info.partitions).unwrap_or(0)).map(|index| {
        Arc::new(PartitionState::new(PartitionParts {
            topic: info.id,
            name: info.name.clone(),
            index: index as PartitionId,
            dir: layout::partition_dir(directory.path(), info.id, index as PartitionId),
            files: Arc::clone(files),
            segment_bytes,
            index_interval_bytes: interval.unwrap_or(settings.index_interval_bytes),
            decompressed_bytes_max: settings.decompressed_bytes_max,
        }))
    });
    let partitions: Vec<Arc<PartitionState>> = known.iter().cloned().chain(more).collect();
    for partition in &partitions {
        partition.awaits_table.store(info.config.is_table(), Ordering::Relaxed);
    }
    TopicState { info, rules, partitions }
}
