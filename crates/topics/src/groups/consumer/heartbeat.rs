//! ConsumerGroupHeartbeat: joining, following, leaving (GroupMetadataManager.consumerGroupHeartbeat).
//!
//! Owns: who is a member, when the group's epoch grows and a new target is made.
//! Does not own: the target itself (`assignors`), the way to it (`reconcile`).

use uuid::Uuid;

use super::records::{self, Changes};
use super::{Catalogue, ConsumerGroup, JOINING, LEAVING, LEAVING_FOR_A_WHILE, Member, MemberState, compile};
use crate::groups::assignors::{Assignment, Assignor, Subscriber, Subscribers};
use crate::groups::{ConsumerHeartbeat, Followed, GroupError, Now};
use crate::settings::GroupSettings;

use std::collections::{BTreeMap, BTreeSet};

/// What a step of a consumer group sees of the world, and what it wants stored.
pub(crate) struct Context<'a> {
    pub now: Now,
    pub settings: &'a GroupSettings,
    pub catalogue: &'a dyn Catalogue,
    pub changes: Changes,
}

fn owned_by(request: &ConsumerHeartbeat) -> Option<Assignment> {
    let owned = request.owned.as_ref()?;
    let mut map = Assignment::new();
    for (topic, partitions) in owned {
        map.entry(*topic).or_default().extend(partitions);
    }
    Some(map)
}

fn is_subset(part: &Assignment, whole: &Assignment) -> bool {
    part.iter().all(|(topic, own)| whole.get(topic).is_some_and(|all| own.is_subset(all)) || own.is_empty())
}

/// A member that says everything wants to hear everything.
fn is_full(request: &ConsumerHeartbeat) -> bool {
    let subscribes = request.topics.is_some() || request.regex.is_some();
    request.rebalance_timeout_ms != -1 && subscribes && request.owned.is_some()
}

fn check_epoch(
    member: &Member,
    request: &ConsumerHeartbeat,
    owned: Option<&Assignment>,
) -> Result<(), GroupError> {
    let (got, known) = (request.epoch, member.epoch);
    // The answer that told the present epoch may have been lost.
    let behind = got == member.previous_epoch && owned.is_some_and(|own| is_subset(own, &member.assigned));
    if got == known || (got < known && behind) {
        return Ok(());
    }
    Err(GroupError::FencedMemberEpoch(format!(
        "the member is in epoch {got}, the coordinator knows it in {known}: it must abandon its partitions and rejoin"
    )))
}

impl ConsumerHeartbeat {
    /// What does not depend on the group (throwIfConsumerGroupHeartbeatRequestIsInvalid).
    pub(crate) fn check(&self) -> Result<(), GroupError> {
        let invalid = |why: &str| Err(GroupError::InvalidRequest(why.to_owned()));
        let is_empty = |text: &Option<String>| text.as_ref().is_some_and(|t| t.trim().is_empty());
        if self.group.trim().is_empty() {
            return invalid("GroupId can't be empty.");
        }
        if is_empty(&self.instance) || is_empty(&self.rack) {
            return invalid("InstanceId and RackId can't be empty.");
        }
        if self.member.trim().is_empty() && (self.id_required || self.epoch != JOINING) {
            return invalid("MemberId can't be empty.");
        }
        if self.epoch < LEAVING_FOR_A_WHILE {
            return invalid("MemberEpoch is invalid.");
        }
        if self.epoch == LEAVING_FOR_A_WHILE && self.instance.is_none() {
            return invalid("InstanceId can't be null.");
        }
        if self.epoch == JOINING {
            if self.rebalance_timeout_ms == -1 {
                return invalid("RebalanceTimeoutMs must be provided in first request.");
            }
            if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            if self.topics.is_none() && self.regex.is_none() {
                return invalid(
                    "SubscribedTopicNames or SubscribedTopicRegex must be provided in first request.",
                );
            }
        }
        if let Some(assignor) = &self.assignor
            && Assignor::named(assignor).is_none()
        {
            return Err(GroupError::UnsupportedAssignor(format!(
                "ServerAssignor {assignor} is not supported: use uniform or range"
            )));
        }
        self.regex.as_deref().map_or(Ok(()), |pattern| compile(pattern).map(drop))
    }
}

impl ConsumerGroup {
    /// Answers a heartbeat that changes nothing, which nearly all are; none for any other.
    pub(crate) fn follow_on(
        &mut self,
        now: Now,
        settings: &GroupSettings,
        version: u64,
        request: &ConsumerHeartbeat,
    ) -> Option<Followed> {
        let settled = self.seen == Some(version) && self.epoch == self.assignment_epoch;
        let member = self.members.get(&request.member).filter(|_| settled)?;
        let owned = owned_by(request);
        let same = |told: &Option<String>, known: &Option<String>| told.is_none() || told == known;
        let says_nothing_new = member.epoch == request.epoch
            && request.epoch != JOINING
            && same(&request.instance, &member.instance)
            && same(&request.rack, &member.rack)
            && same(&request.assignor, &member.assignor)
            && same(&request.regex, &member.regex)
            && [-1, member.rebalance_timeout_ms].contains(&request.rebalance_timeout_ms)
            && request.topics.as_ref().is_none_or(|topics| topics.iter().eq(&member.topics))
            && request.client == member.client;
        if !says_nothing_new || !self.is_settled(member, owned.as_ref()) {
            return None;
        }
        let assignment = is_full(request).then(|| member.assigned.clone());
        let followed = followed(member, settings, assignment);
        let deadline = now.steady + settings.consumer_session_timeout.as_millis() as i64;
        self.members.get_mut(&request.member)?.deadline = deadline;
        Some(followed)
    }

    /// ConsumerGroupHeartbeat, checked for form already.
    pub(crate) fn heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
    ) -> Result<Followed, GroupError> {
        if request.epoch < JOINING {
            return self.leave(cx, request);
        }
        let max = cx.settings.members_max;
        let known = self.members.contains_key(&request.member)
            || request.instance.as_ref().is_some_and(|instance| self.static_members.contains_key(instance));
        if self.members.len() >= max && !known {
            return Err(GroupError::GroupMaxSizeReached(format!("a group has at most {max} members")));
        }
        let owned = owned_by(request);
        let (before, is_new) = self.take_in(cx, request, owned.as_ref())?;
        let subscription_changed = self.renew(cx, request, before.clone(), is_new);
        self.look_at_topics(cx, subscription_changed);
        if self.epoch > self.assignment_epoch {
            self.assign(cx);
        }
        let member = self.members.get(&before.id).ok_or(GroupError::UnknownMemberId)?;
        let mut next = self.reconcile(member, owned.as_ref());
        if is_new || !next.stands_like(&before) {
            cx.changes.push(records::current(&request.group, &next));
        }
        next.deadline = cx.now.steady + cx.settings.consumer_session_timeout.as_millis() as i64;
        next.revoke_by = match (next.state, member.state) {
            (MemberState::UnrevokedPartitions, MemberState::UnrevokedPartitions)
                if member.epoch == next.epoch && member.revoke_by.is_some() =>
            {
                member.revoke_by
            }
            (MemberState::UnrevokedPartitions, _) => {
                Some(cx.now.steady + i64::from(next.rebalance_timeout_ms.max(0)))
            }
            _ => None,
        };
        let tells = request.epoch == JOINING || is_full(request) || next.assigned != before.assigned;
        let followed = followed(&next, cx.settings, tells.then(|| next.assigned.clone()));
        self.wake_by(next.deadline);
        if let Some(at) = next.revoke_by {
            self.wake_by(at);
        }
        self.members.insert(next.id.clone(), next);
        Ok(followed)
    }

    /// The member as it is before this request, made when it joins; whether it is new under this id.
    fn take_in(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
        owned: Option<&Assignment>,
    ) -> Result<(Member, bool), GroupError> {
        let joins = request.epoch == JOINING;
        let id = if request.member.is_empty() { Uuid::new_v4().to_string() } else { request.member.clone() };
        if let Some(instance) = &request.instance {
            let known = self.static_members.get(instance).cloned();
            match known {
                Some(known) if known == id => {}
                Some(known) if joins => return self.replace_static(cx, request, &known, id),
                Some(_) => return Err(GroupError::FencedInstanceId),
                None if joins => {}
                None => return Err(GroupError::UnknownMemberId),
            }
        }
        match self.members.get(&id) {
            // It has abandoned everything, or did not get the answer to its first request.
            Some(known) if joins => {
                let again = Member::new(&id, cx.now);
                let member = Member {
                    epoch: again.epoch,
                    previous_epoch: again.previous_epoch,
                    state: again.state,
                    assigned: again.assigned,
                    revoking: again.revoking,
                    ..known.clone()
                };
                Ok((member, false))
            }
            Some(known) => check_epoch(known, request, owned).map(|()| (known.clone(), false)),
            None if joins => Ok((Member::new(&id, cx.now), true)),
            None => Err(GroupError::UnknownMemberId),
        }
    }

    /// A static member is back: it goes on where the one with its instance stopped, if that has left for a while.
    fn replace_static(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
        old_id: &str,
        id: String,
    ) -> Result<(Member, bool), GroupError> {
        let old = self.members.get(old_id).ok_or(GroupError::UnknownMemberId)?;
        if old.epoch != LEAVING_FOR_A_WHILE {
            return Err(GroupError::UnreleasedInstanceId);
        }
        let member = Member {
            id: id.clone(),
            epoch: JOINING,
            previous_epoch: LEAVING,
            state: MemberState::Stable,
            ..old.clone()
        };
        self.members.remove(old_id);
        cx.changes.extend(records::forget_member(&request.group, old_id));
        if let Some(target) = self.target.remove(old_id) {
            cx.changes.push(records::target(&request.group, &id, &target));
            self.target.insert(id, target);
        }
        Ok((member, true))
    }

    /// Takes over what a member says of itself; whether its subscription is another one.
    fn renew(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
        before: Member,
        is_new: bool,
    ) -> bool {
        let mut member = before.clone();
        member.client = request.client.clone();
        if let Some(instance) = &request.instance {
            member.instance = Some(instance.clone());
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        if request.rack.is_some() {
            member.rack.clone_from(&request.rack);
        }
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if request.assignor.is_some() {
            member.assignor.clone_from(&request.assignor);
        }
        if let Some(topics) = &request.topics {
            member.topics = topics.iter().cloned().collect();
        }
        if request.regex.is_some() {
            member.regex.clone_from(&request.regex);
        }
        let subscribed = |m: &Member| (m.topics.clone(), m.regex.clone(), m.assignor.clone());
        let changed = subscribed(&member) != subscribed(&before);
        if is_new || member != before {
            cx.changes.push(records::member(&request.group, &member));
        }
        if changed {
            self.grow_epoch(cx, &request.group);
        }
        cx.changes.group.clone_from(&request.group);
        self.members.insert(member.id.clone(), member);
        changed
    }

    fn grow_epoch(&mut self, cx: &mut Context<'_>, group: &str) {
        self.epoch += 1;
        cx.changes.push(records::epoch(group, self.epoch));
    }

    /// Looks the subscribed topics up again when something may have changed; other partitions make another epoch.
    fn look_at_topics(&mut self, cx: &mut Context<'_>, subscription_changed: bool) {
        let version = cx.catalogue.version();
        if !subscription_changed && self.seen == Some(version) {
            return;
        }
        let found = self.find_topics(cx.catalogue);
        self.seen = Some(version);
        if found != self.topics {
            self.topics = found;
            // A changed subscription has made the epoch grow already.
            if !subscription_changed {
                let group = cx.changes.group.clone();
                self.grow_epoch(cx, &group);
            }
        }
    }

    pub(super) fn find_topics(&self, catalogue: &dyn Catalogue) -> BTreeMap<String, (base::TopicId, i32)> {
        let by_pattern = self.members.values().any(|m| m.regex.is_some());
        let names = if by_pattern { catalogue.names() } else { Vec::new() };
        let wanted: BTreeSet<String> = self.members.values().flat_map(|m| m.matches(&names)).collect();
        wanted.into_iter().filter_map(|name| catalogue.find(&name).map(|found| (name, found))).collect()
    }

    /// Makes the target of the present epoch.
    fn assign(&mut self, cx: &mut Context<'_>) {
        let group = cx.changes.group.clone();
        let names: Vec<String> = self.topics.keys().cloned().collect();
        let topics = self.topics.values().copied().collect();
        let subscribers: Subscribers<'_> = self
            .members
            .values()
            .map(|member| {
                let wanted = member.matches(&names);
                let ids = wanted.iter().filter_map(|name| self.topics.get(name)).map(|(id, _)| *id);
                let current = self.target.get(&member.id);
                let instance = member.instance.as_deref();
                (member.id.as_str(), Subscriber { instance, topics: ids.collect(), current })
            })
            .collect();
        let assigned = self.assignor().assign(&subscribers, &topics);
        let assigned: BTreeMap<String, Assignment> =
            assigned.into_iter().map(|(id, own)| (id.to_owned(), own)).collect();
        for (id, own) in &assigned {
            if self.target.get(id) != Some(own) {
                cx.changes.push(records::target(&group, id, own));
            }
        }
        self.target = assigned;
        self.assignment_epoch = self.epoch;
        cx.changes.push(records::assignment_epoch(&group, self.epoch));
    }

    fn leave(&mut self, cx: &mut Context<'_>, request: &ConsumerHeartbeat) -> Result<Followed, GroupError> {
        if let Some(instance) = &request.instance {
            match self.static_members.get(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(known) if *known != request.member => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self.members.get_mut(&request.member).ok_or(GroupError::UnknownMemberId)?;
        if request.epoch == LEAVING_FOR_A_WHILE {
            member.previous_epoch = member.epoch;
            member.epoch = LEAVING_FOR_A_WHILE;
            member.revoking.clear();
            member.revoke_by = None;
            cx.changes.push(records::current(&request.group, member));
        } else {
            self.remove(cx, &request.group, &request.member);
            self.grow_epoch(cx, &request.group);
        }
        let interval = cx.settings.consumer_heartbeat_interval.as_millis() as i32;
        Ok(Followed {
            member: request.member.clone(),
            epoch: request.epoch,
            heartbeat_interval_ms: interval,
            assignment: None,
        })
    }

    fn remove(&mut self, cx: &mut Context<'_>, group: &str, id: &str) {
        if let Some(instance) = self.members.remove(id).and_then(|member| member.instance)
            && self.static_members.get(&instance).is_some_and(|known| known == id)
        {
            self.static_members.remove(&instance);
        }
        self.target.remove(id);
        cx.changes.extend(records::forget_member(group, id));
    }

    /// Removes members that were not heard of, or did not give back in time what they were told to.
    pub(crate) fn fire(&mut self, cx: &mut Context<'_>, group: &str) {
        let now = cx.now.steady;
        let late = |m: &&Member| m.deadline <= now || m.revoke_by.is_some_and(|at| at <= now);
        let gone: Vec<String> = self.members.values().filter(late).map(|m| m.id.clone()).collect();
        for id in &gone {
            self.remove(cx, group, id);
        }
        if !gone.is_empty() {
            self.grow_epoch(cx, group);
        }
        self.set_wake();
    }

    /// The group cannot be stored now: it is looked at again a little later.
    pub(crate) fn postpone(&mut self, until: i64) {
        for member in self.members.values_mut() {
            member.deadline = member.deadline.max(until);
            member.revoke_by = member.revoke_by.map(|at| at.max(until));
        }
        self.set_wake();
    }
}

fn followed(member: &Member, settings: &GroupSettings, assignment: Option<Assignment>) -> Followed {
    Followed {
        member: member.id.clone(),
        epoch: member.epoch,
        heartbeat_interval_ms: settings.consumer_heartbeat_interval.as_millis() as i32,
        assignment: assignment.map(|own| {
            own.into_iter().map(|(topic, partitions)| (topic, partitions.into_iter().collect())).collect()
        }),
    }
}
