//! The consumer protocol (KIP-848): ConsumerGroupHeartbeat, and groups that change their kind.
//!
//! Owns: stepping a clone of the group and taking it over once its records have their place in the log.
//! Does not own: what a heartbeat means (`crate::groups::consumer`).
//! Invariants: a group without members changes its kind with the first member of the other one, its offsets stay; with
//! members it never does (Kafka's `group.consumer.migration.policy=disabled`).

use base::TopicId;

use super::*;
use crate::groups::consumer::heartbeat::Context;
use crate::groups::consumer::records::Changes;
use crate::groups::consumer::{Catalogue, ConsumerGroup, JOINING};

/// A group whose records the log does not take is looked at again after so long, ms.
const AGAIN_AFTER: i64 = 1_000;

impl Catalogue for Shared {
    fn version(&self) -> u64 {
        *self.topics_changed.borrow()
    }

    fn find(&self, topic: &str) -> Option<(TopicId, i32)> {
        self.topic(topic).map(|topic| (topic.info.id, topic.info.partitions))
    }

    fn names(&self) -> Vec<String> {
        let topics = self.topics.read();
        let public = topics.by_name.values().filter(|topic| !topic.info.is_internal());
        public.map(|topic| topic.info.name.to_string()).collect()
    }
}

impl Group {
    /// Puts the records of a step into the log and takes over what it made of the group.
    fn take_over(
        &mut self,
        shared: &Shared,
        next: ConsumerGroup,
        changes: Changes,
        now: Now,
    ) -> Result<(), GroupError> {
        if !changes.records.is_empty() {
            let appended = shared.append_group_records(&changes.records, now);
            self.gate = Some(appended.map_err(|e| unstorable(&e))?.1);
            self.in_log = true;
        }
        self.machine = Machine::Consumer(next);
        Ok(())
    }

    /// The group as one of the consumer protocol, and what makes it one in the log.
    fn as_consumer(&self, name: &str, joins: bool) -> Result<(ConsumerGroup, Changes), GroupError> {
        let mut changes = Changes::default();
        match &self.machine {
            Machine::Consumer(group) => Ok((group.clone(), changes)),
            Machine::Classic(group) if joins && group.is_deserted() => {
                if self.in_log {
                    changes.extend(self.machine.tombstones(name));
                }
                Ok((ConsumerGroup::default(), changes))
            }
            Machine::Classic(_) => Err(GroupError::GroupIdNotFound(name.to_owned())),
        }
    }
}

impl State {
    fn consumer_heartbeat(
        &mut self,
        shared: &Shared,
        request: &ConsumerHeartbeat,
    ) -> Result<Answer<Followed>, GroupError> {
        let joins = request.epoch == JOINING;
        let (now, settings) = (shared.group_now(), &shared.settings.groups);
        let group = self.get_or_create(shared, &request.group, joins)?;
        if let Machine::Consumer(machine) = &mut group.machine
            && let Some(followed) = machine.follow_on(now, settings, shared.version(), request)
        {
            return Ok((followed, group.gate.clone()));
        }
        let (mut next, changes) = group.as_consumer(&request.group, joins)?;
        let mut cx = Context { now, settings, catalogue: shared, changes };
        let followed = next.heartbeat(&mut cx, request)?;
        group.take_over(shared, next, cx.changes, now)?;
        Ok((followed, group.gate.clone()))
    }

    /// Lets a consumer group act whose time has come.
    pub(super) fn fire_consumer(&mut self, shared: &Shared, name: &Name, now: Now) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Machine::Consumer(machine) = &group.machine else { return };
        let mut next = machine.clone();
        let changes = Changes::default();
        let mut cx = Context { now, settings: &shared.settings.groups, catalogue: shared, changes };
        next.fire(&mut cx, name);
        if let Err(error) = group.take_over(shared, next, cx.changes, now) {
            tracing::warn!(group = %name, %error, "members whose sessions have ended stay for now");
            if let Machine::Consumer(machine) = &mut group.machine {
                machine.postpone(now.steady + AGAIN_AFTER);
            }
        }
        self.reschedule(shared, name);
    }

    /// Makes the group one that classic members can join.
    pub(super) fn make_classic(&mut self, shared: &Shared, name: &str) -> Result<(), GroupError> {
        let Some(group) = self.groups.get_mut(name) else { return Ok(()) };
        if group.machine.classic().is_some() {
            return Ok(());
        }
        if group.machine.has_members() {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let now = shared.group_now();
        if group.in_log {
            let tombstones = group.machine.tombstones(name);
            group.gate = Some(shared.append_group_records(&tombstones, now).map_err(|e| unstorable(&e))?.1);
            group.in_log = false;
        }
        group.machine = Machine::Classic(ClassicGroup::new(now));
        Ok(())
    }
}

impl Groups {
    /// ConsumerGroupHeartbeat. Resolves once what it changed is durable.
    pub async fn consumer_heartbeat(&self, request: ConsumerHeartbeat) -> Result<Followed, GroupError> {
        request.check()?;
        let texts = [Some(&request.group), Some(&request.member), Some(&request.client.id)];
        let more = [request.instance.as_ref(), request.rack.as_ref(), request.regex.as_ref()];
        members::check_names(texts.into_iter().chain(more).flatten().map(String::as_str))?;
        self.ready().await?;
        let (followed, gate) = {
            let shared = self.shared();
            let mut state = shared.groups.state.lock();
            let outcome = state.consumer_heartbeat(shared, &request);
            state.tidy(shared, &request.group);
            outcome?
        };
        if let Some(gate) = gate {
            gate.await?;
        }
        Ok(followed)
    }

    /// A group of the consumer protocol, as it is now.
    pub fn describe_consumer_group(&self, name: &str) -> Option<ConsumerGroupDescription> {
        match &self.shared().groups.state.lock().groups.get(name)?.machine {
            Machine::Consumer(group) => Some(group.describe()),
            Machine::Classic(_) => None,
        }
    }
}
