//! A group of the classic protocol (Kafka's ClassicGroup): members, their votes, the state they are in together.
//!
//! Owns: the members and what the group remembers of them; its children are the events: `joining` (JoinGroup and the
//! rebalance), `syncing` (SyncGroup and storing), `leaving` (Heartbeat, LeaveGroup, timers).
//! Does not own: stored offsets (`super::offsets`).
//! Invariants: a member that waits holds the ticket of its request; `leader` is a member; a member is in
//! `pending_sync` from the answer to its JoinGroup until its SyncGroup; `wake` is never later than the next deadline.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::records::{GroupValue, MemberValue};
use super::subscription::{self, CONSUMER};
use super::{
    Client, GroupDescription, GroupError, Identity, JoinGroup, JoinedMember, MemberDescription, Now, Ticket,
};

mod joining;
mod leaving;
mod syncing;
#[cfg(test)]
mod tests;

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Members are awaited to join the next generation.
    PreparingRebalance,
    /// The leader's assignments are awaited.
    CompletingRebalance,
    Stable,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// What ends the wait for members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JoinTimer {
    /// The group was empty: it waits `delay` for more members, and again while more come, `remaining` in all.
    Initial { at: i64, delay: i64, remaining: i64 },
    /// Members of the last generation have until then to join again.
    Rebalance { at: i64 },
}

impl JoinTimer {
    fn at(self) -> i64 {
        match self {
            Self::Initial { at, .. } | Self::Rebalance { at } => at,
        }
    }
}

/// A member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    id: String,
    instance: Option<String>,
    client: Client,
    rebalance_timeout_ms: i32,
    session_timeout_ms: i32,
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    /// It has not been in a generation yet.
    is_new: bool,
    awaiting_join: Option<Ticket>,
    awaiting_sync: Option<Ticket>,
    /// When it must have shown itself; none while nothing is expected of it.
    deadline: Option<i64>,
}

impl Member {
    fn new(id: String, request: &JoinGroup) -> Self {
        Self {
            id,
            instance: request.instance.clone(),
            client: request.client.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: None,
            awaiting_sync: None,
            deadline: None,
        }
    }

    fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        protocol_bytes(&self.protocols) + self.id.len() + self.client.id.len()
    }
}

fn protocol_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum()
}

/// What is being stored.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Storing {
    /// That the last member is gone.
    Empty,
    /// The leader's assignments.
    Assignments,
    /// A static member that came back under another id.
    Replaced(Box<Replaced>),
}

/// How a static member was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Replaced {
    /// The member as it was.
    old: Member,
    new: String,
    /// The leader's id before.
    leader: Option<String>,
    ticket: Ticket,
    skips_assignment: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    state: State,
    /// The group was empty before it began to rebalance.
    was_empty: bool,
    state_since_ms: i64,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Instances and the ids of their members.
    static_members: BTreeMap<String, String>,
    /// Ids that were given out and have not joined, with their deadlines.
    pending_join: BTreeMap<String, i64>,
    pending_sync: BTreeSet<String>,
    sync_deadline: Option<i64>,
    join_timer: Option<JoinTimer>,
    /// Somebody joined since the initial timer was set.
    new_member_added: bool,
    storing: Option<Storing>,
    wake: Option<i64>,
}

impl ClassicGroup {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            state: State::Empty,
            was_empty: true,
            state_since_ms: now.wall,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            sync_deadline: None,
            join_timer: None,
            new_member_added: false,
            storing: None,
            wake: None,
        }
    }

    /// The group as its record tells; its members have their whole session timeouts before them.
    pub(crate) fn restore(value: GroupValue, now: Now) -> Self {
        let mut group = Self::new(now);
        group.state_since_ms = value.state_since_ms;
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type).filter(|t| !t.is_empty());
        group.protocol = value.protocol;
        if !value.members.is_empty() {
            group.state = State::Stable;
        }
        let protocol = group.protocol.clone().unwrap_or_default();
        for stored in value.members {
            if let Some(instance) = &stored.instance {
                group.static_members.insert(instance.clone(), stored.member.clone());
            }
            let deadline = now.steady + i64::from(stored.session_timeout_ms);
            group.wake_by(deadline);
            let member = Member {
                id: stored.member.clone(),
                instance: stored.instance,
                client: Client { id: stored.client_id, host: stored.client_host },
                rebalance_timeout_ms: stored.rebalance_timeout_ms,
                session_timeout_ms: stored.session_timeout_ms,
                protocols: vec![(protocol.clone(), stored.subscription)],
                assignment: stored.assignment,
                is_new: false,
                awaiting_join: None,
                awaiting_sync: None,
                deadline: Some(deadline),
            };
            group.members.insert(stored.member, member);
        }
        group.leader = value.leader.filter(|leader| group.members.contains_key(leader));
        if group.leader.is_none() {
            group.leader = group.members.keys().next().cloned();
        }
        group
    }

    /// The group's record as it is to be stored now.
    pub(crate) fn value(&self) -> GroupValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| MemberValue {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
        });
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members: members.collect(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }
    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }
    /// Since when the group is in its state, ms since 1970 UTC; negative when the record did not tell.
    pub(crate) fn state_since_ms(&self) -> i64 {
        self.state_since_ms
    }
    /// Neither members nor anybody who was told to join.
    pub(crate) fn is_deserted(&self) -> bool {
        self.state == State::Empty && self.pending_join.is_empty()
    }
    /// When [`Self::fire`] has to be called, on the steady clock; it may be early.
    pub(crate) fn wake(&self) -> Option<i64> {
        self.wake
    }

    /// Whether the group reads `topic`, as far as its members' metadata tell; unreadable metadata may mean any topic.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        let Some(protocol) = self.protocol.as_deref() else { return !self.members.is_empty() };
        let mut topics = BTreeSet::new();
        let mut members = self.members.values();
        let readable = members
            .try_for_each(|member| subscription::add_topics(&member.metadata(protocol), &mut topics))
            .is_some();
        !readable || topics.contains(topic)
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    pub(crate) fn describe(&self) -> GroupDescription {
        let protocol = self.protocol.as_deref().filter(|_| self.state == State::Stable);
        let members = self.members.values().map(|member| MemberDescription {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            metadata: protocol.map(|p| member.metadata(p)).unwrap_or_default(),
            assignment: if protocol.is_some() { member.assignment.clone() } else { Bytes::new() },
        });
        GroupDescription {
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
        }
    }

    /// Whether who calls itself so is a member now.
    fn validate_member(&self, id: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(known) if known != id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    /// Whether offsets may be stored by who calls itself so (ClassicGroup.validateOffsetCommit).
    pub(crate) fn validate_commit(&self, who: &Identity, in_transaction: bool) -> Result<(), GroupError> {
        if who.generation < 0 && self.state == State::Empty {
            // An administrator, or a consumer that assigns its partitions itself.
            return Ok(());
        }
        if who.generation >= 0 || !who.member.is_empty() || who.instance.is_some() {
            self.validate_member(&who.member, who.instance.as_deref())?;
            if who.generation != self.generation {
                return Err(GroupError::IllegalGeneration);
            }
        } else if !in_transaction && self.state != State::Empty {
            // Old producers do not tell the member; for everybody else a group with members is taken.
            return Err(GroupError::UnknownMemberId);
        }
        if !in_transaction && self.state == State::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// The largest of its members' rebalance timeouts, ms.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|m| i64::from(m.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    fn enter(&mut self, state: State, now: Now) {
        self.was_empty = self.state == State::Empty;
        self.state = state;
        self.state_since_ms = now.wall;
    }

    fn wake_by(&mut self, at: i64) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Expects a sign of life within `within_ms`.
    fn expect(&mut self, id: &str, now: Now, within_ms: i64) {
        let deadline = now.steady.saturating_add(within_ms);
        if let Some(member) = self.members.get_mut(id) {
            member.deadline = Some(deadline);
            self.wake_by(deadline);
        }
    }

    fn expect_within_session(&mut self, id: &str, now: Now) {
        if let Some(session) = self.members.get(id).map(|m| m.session_timeout_ms) {
            self.expect(id, now, session.into());
        }
    }

    fn all_have_joined(&self) -> bool {
        self.pending_join.is_empty() && self.members.values().all(|m| m.awaiting_join.is_some())
    }

    /// Forgets a member, or one that was about to become one. Who waits in its name must have been answered.
    fn remove(&mut self, id: &str) {
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance
            && self.static_members.get(instance).is_some_and(|known| known == id)
        {
            self.static_members.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Whether somebody with these protocols could be a member.
    fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| self.everybody_supports(name))
    }

    fn everybody_supports(&self, protocol: &str) -> bool {
        self.members.values().all(|member| member.protocols.iter().any(|(name, _)| name == protocol))
    }

    /// The protocol that most members prefer among those that all have; the leader's order decides between equals.
    fn select_protocol(&self) -> Option<String> {
        let first = self.leader.as_ref().and_then(|id| self.members.get(id));
        let first = first.or_else(|| self.members.values().next())?;
        let candidates: Vec<&str> = first
            .protocols
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| self.everybody_supports(name))
            .collect();
        let mut votes = vec![0usize; candidates.len()];
        for member in self.members.values() {
            let mut preferred = member.protocols.iter();
            let vote = preferred.find_map(|(name, _)| candidates.iter().position(|c| c == name));
            if let Some(count) = vote.and_then(|at| votes.get_mut(at)) {
                *count += 1;
            }
        }
        let best = votes.iter().copied().max()?;
        let at = votes.iter().position(|count| *count == best)?;
        candidates.get(at).map(|name| (*name).to_owned())
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }

    /// Bytes that the members' names and metadata take.
    fn bytes(&self) -> usize {
        self.members.values().map(Member::bytes).sum()
    }
}
