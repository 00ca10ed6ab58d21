//! What goes away: deleted groups, deleted offsets, offsets of deleted topics, offsets that nobody wants any more.
//!
//! Owns: tombstones.
//! Does not own: which offsets have expired (`crate::groups::offsets`).
//! Invariants: what is forgotten has its tombstone in the log first.

use super::*;
use crate::groups::offsets::At;

/// Most tombstones of one batch: with the longest names they stay below the smallest `max.message.bytes` in use.
const TOMBSTONES_MAX: usize = 500;

fn offset_tombstone(group: &str, at: &At) -> KeyValue {
    let (topic, partition) = at.clone();
    (Key::Offset { group: group.to_owned(), topic, partition }.encode(), None)
}

/// Appends tombstones; when the last of them is durable.
fn bury(shared: &Shared, tombstones: &[KeyValue], now: Now) -> Result<Option<Gate>, GroupError> {
    let mut last = None;
    for some in tombstones.chunks(TOMBSTONES_MAX) {
        last = Some(shared.append_group_records(some, now).map_err(|e| unstorable(&e))?.1);
    }
    Ok(last)
}

async fn settled<T>(outcome: Result<Answer<T>, GroupError>) -> Result<T, GroupError> {
    let (outcome, gate) = outcome?;
    if let Some(gate) = gate {
        gate.await?;
    }
    Ok(outcome)
}

impl State {
    fn delete_group(&mut self, shared: &Shared, name: &str) -> Result<Option<Gate>, GroupError> {
        let group = self.groups.get(name).ok_or_else(|| GroupError::GroupIdNotFound(name.to_owned()))?;
        if group.machine.has_members() {
            return Err(GroupError::NonEmptyGroup);
        }
        let offsets = group.offsets.partitions();
        let mut tombstones: Vec<KeyValue> = offsets.iter().map(|at| offset_tombstone(name, at)).collect();
        tombstones.extend(group.machine.tombstones(name));
        let gate = bury(shared, &tombstones, shared.group_now())?;
        self.forget(name);
        Ok(gate)
    }

    /// Forgets offsets of one group.
    fn remove_offsets(
        &mut self,
        shared: &Shared,
        name: &str,
        gone: &[At],
    ) -> Result<Option<Gate>, GroupError> {
        let tombstones: Vec<KeyValue> = gone.iter().map(|at| offset_tombstone(name, at)).collect();
        let gate = bury(shared, &tombstones, shared.group_now())?;
        if let Some(group) = self.groups.get_mut(name) {
            gone.iter().for_each(|at| group.offsets.remove(at));
            if group.is_void() {
                self.forget(name);
            }
        }
        Ok(gate)
    }

    fn delete_offsets(
        &mut self,
        shared: &Shared,
        name: &str,
        topics: Vec<(String, Vec<i32>)>,
    ) -> Result<Answer<CommitOutcome>, GroupError> {
        let group = self.groups.get(name).ok_or_else(|| GroupError::GroupIdNotFound(name.to_owned()))?;
        let has_members = group.machine.has_members();
        if has_members && !group.machine.uses_consumer_protocol() {
            return Err(GroupError::NonEmptyGroup);
        }
        let mut gone = Vec::new();
        let outcome = topics.into_iter().map(|(topic, partitions)| {
            let subscribed = has_members && group.machine.is_subscribed_to(&topic);
            let outcomes = partitions.into_iter().map(|partition| {
                let outcome = if shared.topic_and_partition(&topic, partition).is_err() {
                    Err(GroupError::UnknownTopicOrPartition)
                } else if subscribed {
                    Err(GroupError::GroupSubscribedToTopic)
                } else {
                    Ok(())
                };
                if outcome.is_ok() && group.offsets.contains(&topic, partition) {
                    gone.push((topic.clone(), partition));
                }
                (partition, outcome)
            });
            let outcomes = outcomes.collect();
            (topic, outcomes)
        });
        let outcome = outcome.collect();
        let gate = self.remove_offsets(shared, name, &gone)?;
        Ok((outcome, gate))
    }

    /// Forgets what has expired, and groups of which nothing is left.
    pub(super) fn expire_offsets(&mut self, shared: &Shared) {
        let now = shared.group_now();
        let kept_since = now.wall - shared.settings.groups.offsets_retention.as_millis() as i64;
        let mut work: Vec<(Name, Vec<At>)> = Vec::new();
        for (name, group) in &self.groups {
            // Topics that went while this node was down, or was about to go down.
            let orphan = |(topic, _): &At| shared.topic(topic).is_none();
            let mut gone: Vec<At> = group.offsets.partitions().into_iter().filter(orphan).collect();
            if group.machine.is_deserted() {
                let deserted = group.machine.deserted_since_ms();
                gone.extend(group.offsets.expired(now.wall, kept_since, deserted));
            }
            gone.sort();
            gone.dedup();
            let empty = group.machine.is_deserted() && gone.len() == group.offsets.partitions().len();
            if !gone.is_empty() || empty {
                work.push((Arc::clone(name), gone));
            }
        }
        for (name, gone) in work {
            let buried = self.remove_offsets(shared, &name, &gone);
            let left = self.groups.get(&name);
            let done = left.is_some_and(|group| group.machine.is_deserted() && group.offsets.is_empty());
            let outcome = match buried {
                Ok(_) if done => self.delete_group(shared, &name),
                other => other,
            };
            if let Err(error) = outcome {
                tracing::warn!(group = %name, %error, "expired offsets stay for now");
            }
        }
    }

    /// Forgets all offsets of a topic.
    fn remove_topic(&mut self, shared: &Shared, topic: &str) {
        let names: Vec<Name> = self.groups.keys().cloned().collect();
        for name in names {
            let partitions = self.groups.get(&name).map(|g| g.offsets.partitions()).unwrap_or_default();
            let gone: Vec<At> = partitions.into_iter().filter(|(of, _)| of == topic).collect();
            if !gone.is_empty()
                && let Err(error) = self.remove_offsets(shared, &name, &gone)
            {
                // The next upkeep finds them without a topic.
                tracing::warn!(group = %name, topic, %error, "offsets of a deleted topic stay for now");
            }
        }
    }
}

/// A topic was deleted. The caller sees to it that none of the same name is created meanwhile.
pub(crate) fn topic_deleted(shared: &Shared, topic: &str) {
    shared.groups.state.lock().remove_topic(shared, topic);
}

impl Groups {
    /// Deletes a group without members, its offsets included; durable on return.
    pub async fn delete(&self, group: &str) -> Result<(), GroupError> {
        let deleted = self.shared().groups.state.lock().delete_group(self.shared(), group);
        settled(deleted.map(|gate| ((), gate))).await
    }

    /// Deletes offsets (KIP-496); durable on return. A topic that the group is subscribed to keeps its own.
    pub async fn delete_offsets(
        &self,
        group: &str,
        topics: Vec<(String, Vec<i32>)>,
    ) -> Result<CommitOutcome, GroupError> {
        let deleted = self.shared().groups.state.lock().delete_offsets(self.shared(), group, topics);
        settled(deleted).await
    }
}
