//! Creating, changing and deleting topics.
//!
//! Owns: the list of topics in the control store and the directories that follow it.
//! Does not own: what properties mean.
//! Invariants: the control store comes first: a topic exists once it is stored there, and is gone once it is removed
//! there; directories are made again or removed at the next start if a crash comes between.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use base::{TopicId, TopicName};
use storage::{ControlError, layout};

use super::queue::Work;
use super::recovery::{TOPIC_KEYS, deleted_key};
use super::shared::{Shared, TopicState, topic_state};
use crate::error::TopicError;
use crate::topic::{ConfigKey, NewTopic, TopicConfig, TopicInfo, is_internal};

/// Where the properties are kept that the node has for all topics.
const NODE_CONFIG_KEY: &str = "node-config";

fn key(name: &TopicName) -> String {
    format!("{TOPIC_KEYS}{name}")
}

impl Shared {
    fn refuse_admin_offline(&self) -> Result<(), TopicError> {
        self.offline().map_or(Ok(()), |reason| Err(TopicError::Offline(reason)))
    }

    fn store(&self, info: &TopicInfo) -> Result<(), TopicError> {
        self.control.transact(|tx| tx.put_json(layout::TOPICS, &key(&info.name), info))?;
        Ok(())
    }

    /// Makes the directories of the partitions from number `from` on; their first leader epoch begins.
    fn begin_partitions(&self, state: &TopicState, from: usize) -> std::io::Result<()> {
        let new = || state.partitions.iter().skip(from);
        new().for_each(|partition| partition.appending.lock().epochs.assign(self.leader_epoch, 0));
        let names: Vec<String> = new().map(|partition| layout::partition_name(partition.index)).collect();
        self.directory.disk().create_dirs(&layout::topic_dir(self.directory.path(), state.info.id), &names)
    }

    fn put(&self, state: TopicState) -> Arc<TopicInfo> {
        let info = Arc::clone(&state.info);
        {
            let mut topics = self.topics.write();
            topics.by_id.insert(info.id, info.name.clone());
            topics.by_name.insert(info.name.clone(), Arc::new(state));
        }
        self.note_topics_changed();
        info
    }

    fn existing(&self, name: &str) -> Result<Arc<TopicState>, TopicError> {
        self.topic(name).ok_or_else(|| TopicError::NotFound(name.to_owned()))
    }
}

fn refuse_internal(name: &str) -> Result<(), TopicError> {
    if is_internal(name) { Err(TopicError::Internal(name.to_owned())) } else { Ok(()) }
}

/// See [`super::Topics::validate`]: what the topic would be.
pub(crate) fn validate(shared: &Shared, new: &NewTopic) -> Result<TopicInfo, TopicError> {
    if shared.topic(&new.name).is_none() {
        refuse_internal(&new.name)?;
    }
    planned(shared, new)
}

fn planned(shared: &Shared, new: &NewTopic) -> Result<TopicInfo, TopicError> {
    let name = TopicName::new(&new.name)?;
    if shared.topic(&new.name).is_some() {
        return Err(TopicError::Exists(new.name.clone()));
    }
    let partitions = new.partitions.unwrap_or(shared.settings.partitions_default);
    let max = shared.settings.partitions_max;
    if !(1..=max).contains(&partitions) {
        return Err(TopicError::PartitionCount(partitions, max));
    }
    let config = TopicConfig::new(&new.config)?;
    let created_ms = shared.clock.now_ms();
    Ok(TopicInfo { id: TopicId::random(), name, partitions, created_ms, config })
}

/// See [`super::Topics::create`].
pub(crate) fn create(shared: &Shared, new: &NewTopic) -> Result<Arc<TopicInfo>, TopicError> {
    shared.refuse_admin_offline()?;
    let _one = shared.admin.lock();
    let info = validate(shared, new)?;
    make(shared, info)
}

/// The internal topic `name` (see [`is_internal`]), made with `partitions` partitions when it is not there yet: it is
/// compacted, and no client may write to it, change it or delete it. Durable on return; blocks for about an fsync
/// when it is made.
pub(crate) fn ensure_internal(
    shared: &Shared,
    name: &str,
    partitions: i32,
) -> Result<Arc<TopicInfo>, TopicError> {
    if let Some(known) = shared.topic(name) {
        return Ok(Arc::clone(&known.info));
    }
    shared.refuse_admin_offline()?;
    let _one = shared.admin.lock();
    if let Some(known) = shared.topic(name) {
        return Ok(Arc::clone(&known.info));
    }
    let config = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    let info = planned(shared, &NewTopic { name: name.to_owned(), partitions: Some(partitions), config })?;
    make(shared, info)
}

fn make(shared: &Shared, info: TopicInfo) -> Result<Arc<TopicInfo>, TopicError> {
    let info = Arc::new(info);
    shared.store(&info)?;
    let state = topic_state(&shared.settings, &shared.directory, &shared.files, Arc::clone(&info), &[]);
    if let Err(error) = shared.begin_partitions(&state, 0) {
        // Without directories there is no topic; a failure here leaves one that the next start completes.
        shared.control.transact::<_, ControlError>(|tx| tx.delete(layout::TOPICS, &key(&info.name)))?;
        return Err(error.into());
    }
    Ok(shared.put(state))
}

/// See [`super::Topics::add_partitions`].
pub(crate) fn add_partitions(shared: &Shared, name: &str, total: i32) -> Result<Arc<TopicInfo>, TopicError> {
    if shared.topic(name).is_some() {
        refuse_internal(name)?;
    }
    shared.refuse_admin_offline()?;
    let _one = shared.admin.lock();
    let old = shared.existing(name)?;
    let have = old.info.partitions;
    let max = shared.settings.partitions_max;
    if total > max || total < 1 {
        return Err(TopicError::PartitionCount(total, max));
    }
    if total <= have {
        return Err(TopicError::PartitionsOnlyGrow { topic: name.to_owned(), have, want: total });
    }
    let info = Arc::new(TopicInfo { partitions: total, ..(*old.info).clone() });
    shared.store(&info)?;
    let state = topic_state(&shared.settings, &shared.directory, &shared.files, info, &old.partitions);
    shared.begin_partitions(&state, old.partitions.len())?;
    Ok(shared.put(state))
}

/// See [`super::Topics::alter_config`].
pub(crate) fn alter_config(
    shared: &Shared,
    name: &str,
    changes: &[(String, Option<String>)],
) -> Result<Arc<TopicInfo>, TopicError> {
    if shared.topic(name).is_some() {
        refuse_internal(name)?;
    }
    shared.refuse_admin_offline()?;
    let _one = shared.admin.lock();
    let old = shared.existing(name)?;
    let mut info = (*old.info).clone();
    for (property, value) in changes {
        info.config.set(property, value.as_deref())?;
    }
    info.config.check_together()?;
    let info = Arc::new(info);
    shared.store(&info)?;
    let state = topic_state(&shared.settings, &shared.directory, &shared.files, info, &old.partitions);
    Ok(shared.put(state))
}

/// See [`super::Topics::alter_node_config`].
pub(crate) fn alter_node_config(
    shared: &Shared,
    changes: &[(String, Option<String>)],
) -> Result<(), TopicError> {
    shared.refuse_admin_offline()?;
    let _one = shared.admin.lock();
    let mut config = shared.node_config.read().clone();
    for (property, value) in changes {
        if !ConfigKey::for_node().any(|key| key.name == property) {
            return Err(TopicError::NotForNode(property.chars().take(128).collect()));
        }
        config.set(property, value.as_deref())?;
    }
    shared.control.transact::<_, ControlError>(|tx| tx.put_json(layout::TOPICS, NODE_CONFIG_KEY, &config))?;
    *shared.node_config.write() = config;
    Ok(())
}

/// Brings back what was stored.
pub(crate) fn load_node_config(shared: &Shared) -> Result<(), ControlError> {
    if let Some(config) = shared.control.get_json(layout::TOPICS, NODE_CONFIG_KEY)? {
        *shared.node_config.write() = config;
    }
    Ok(())
}

/// See [`super::Topics::delete`].
pub(crate) fn delete(shared: &Shared, name: &str) -> Result<TopicId, TopicError> {
    if shared.topic(name).is_some() {
        refuse_internal(name)?;
    }
    shared.refuse_admin_offline()?;
    let _one = shared.admin.lock();
    let old = shared.existing(name)?;
    let id = old.info.id;
    // The mark tells a deletion that a crash interrupts from a control store that is older than the log.
    shared.control.transact::<_, ControlError>(|tx| {
        tx.put(layout::TOPICS, &deleted_key(id), b"")?;
        tx.delete(layout::TOPICS, &key(&old.info.name))
    })?;
    {
        let mut topics = shared.topics.write();
        topics.by_name.remove(name);
        topics.by_id.remove(&id);
    }
    for partition in &old.partitions {
        partition.deleted.store(true, Ordering::Release);
        // Compaction sees it at its next batch; nothing is written into the directory after that.
        drop(partition.cleaning.lock());
    }
    super::groups::topic_deleted(shared, name);
    shared.note_topics_changed();
    // The log writer removes the files, so that it never writes into a directory that goes away.
    let (done, removed) = mpsc::sync_channel(1);
    {
        let mut queue = shared.queue.lock();
        if queue.is_stopped() {
            return Ok(id);
        }
        queue.push(Work::Remove { dir: layout::topic_dir(shared.directory.path(), id), done }, 0);
    }
    match removed.recv() {
        Ok(outcome) => outcome.map(|()| id).map_err(TopicError::Io),
        // The log was closed meanwhile: the next start removes what is left.
        Err(_) => Ok(id),
    }
}
