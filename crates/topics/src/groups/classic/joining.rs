//! JoinGroup, and the rebalance that it leads to (GroupMetadataManager.classicGroupJoin and what it calls).
//!
//! Owns: who becomes a member, the wait for the others, the beginning of a generation.
//! Does not own: assignments (`syncing`).

use uuid::Uuid;

use super::{ClassicGroup, JoinTimer, Member, Replaced, State, Storing};
use crate::groups::{Effect, GroupError, JoinGroup, Joined, Step, Synced, Ticket};

impl ClassicGroup {
    /// JoinGroup. The ticket is answered now, or when the generation begins.
    pub(crate) fn join(&mut self, step: &mut Step<'_>, request: &JoinGroup, ticket: Ticket) {
        if let Err(error) = self.admit(step, request) {
            self.remove(&request.member);
            return step.refuse_join(ticket, error, "");
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return step.refuse_join(ticket, GroupError::InconsistentGroupProtocol, &request.member);
        }
        if request.member.is_empty() {
            self.join_new(step, request, ticket);
        } else if self.pending_join.contains_key(&request.member) {
            if request.instance.is_some() {
                return step.refuse_join(ticket, GroupError::UnknownMemberId, &request.member);
            }
            self.add(step, request, request.member.clone(), ticket);
        } else {
            self.join_again(step, request, ticket);
        }
    }

    /// Whether there is room for who joins (acceptJoiningMember, and the limit on metadata).
    fn admit(&self, step: &Step<'_>, request: &JoinGroup) -> Result<(), GroupError> {
        let max = step.settings.members_max;
        let known = self.members.get(&request.member);
        let accepted = match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waiting = self.members.values().filter(|m| m.awaiting_join.is_some()).count();
                known.is_some_and(|m| m.awaiting_join.is_some()) || waiting < max
            }
            State::CompletingRebalance | State::Stable => known.is_some() || self.members.len() < max,
        };
        let pending = request.member.is_empty() && self.pending_join.len() >= max;
        if !accepted || pending {
            return Err(GroupError::GroupMaxSizeReached(format!("a group has at most {max} members")));
        }
        let bytes = self.bytes() - known.map_or(0, Member::bytes) + super::protocol_bytes(&request.protocols);
        let bytes_max = step.settings.group_bytes_max;
        if bytes > bytes_max {
            return Err(GroupError::GroupMaxSizeReached(format!(
                "the members' protocol metadata would take {bytes} bytes, {bytes_max} are taken"
            )));
        }
        Ok(())
    }

    fn join_new(&mut self, step: &mut Step<'_>, request: &JoinGroup, ticket: Ticket) {
        let prefix = request.instance.as_deref().unwrap_or(&request.client.id);
        let id = format!("{prefix}-{}", Uuid::new_v4());
        let known = request.instance.as_ref().and_then(|instance| self.static_members.get(instance));
        if let Some(old) = known.cloned() {
            self.replace_static(step, request, &old, id, ticket);
        } else if request.id_first && request.instance.is_none() {
            let deadline = step.now.steady + i64::from(request.session_timeout_ms);
            self.pending_join.insert(id.clone(), deadline);
            self.wake_by(deadline);
            step.refuse_join(ticket, GroupError::MemberIdRequired, &id);
        } else {
            self.add(step, request, id, ticket);
        }
    }

    fn join_again(&mut self, step: &mut Step<'_>, request: &JoinGroup, ticket: Ticket) {
        let id = &request.member;
        if let Err(error) = self.validate_member(id, request.instance.as_deref()) {
            return step.refuse_join(ticket, error, id);
        }
        let same = self.members.get(id).is_some_and(|member| member.protocols == request.protocols);
        match self.state {
            State::PreparingRebalance => self.update(step, request, ticket),
            // It did not get the answer to its last JoinGroup: here is the same again.
            State::CompletingRebalance if same => {
                let members = if self.is_leader(id) { self.joined_members() } else { Vec::new() };
                step.join(ticket, Ok(Joined { members, ..self.joined(id) }));
            }
            // Nothing changes for a follower. A leader that joins again has reasons that its metadata do not tell.
            State::Stable if same && !self.is_leader(id) => step.join(ticket, Ok(self.joined(id))),
            State::CompletingRebalance | State::Stable => self.update(step, request, ticket),
            State::Empty => step.refuse_join(ticket, GroupError::UnknownMemberId, id),
        }
    }

    fn joined(&self, id: &str) -> Joined {
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member: id.to_owned(),
            members: Vec::new(),
            skip_assignment: false,
        }
    }

    /// Makes `id` a member and rebalances.
    fn add(&mut self, step: &mut Step<'_>, request: &JoinGroup, id: String, ticket: Ticket) {
        if self.state == State::PreparingRebalance && self.was_empty {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.pending_join.remove(&id);
        if let Some(instance) = &request.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        let member = Member { awaiting_join: Some(ticket), ..Member::new(id.clone(), request) };
        self.members.insert(id.clone(), member);
        // It cannot send heartbeats before it has its answer; who goes away meanwhile must not be waited for for ever.
        let timeout = step.settings.new_member_join_timeout.as_millis() as i64;
        self.expect(&id, step.now, timeout);
        self.rebalance(step);
    }

    /// Takes over what a member says anew and rebalances.
    fn update(&mut self, step: &mut Step<'_>, request: &JoinGroup, ticket: Ticket) {
        self.renew(step, request, &request.member, ticket);
        self.rebalance(step);
    }

    fn renew(&mut self, step: &mut Step<'_>, request: &JoinGroup, id: &str, ticket: Ticket) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols.clone_from(&request.protocols);
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        if let Some(forgotten) = member.awaiting_join.replace(ticket) {
            // The same member asked twice: its first request must not wait for ever.
            step.refuse_join(forgotten, GroupError::RebalanceInProgress, id);
        }
    }

    /// A static member is back under a new id (updateStaticMemberThenRebalanceOrCompleteJoin).
    fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        request: &JoinGroup,
        old_id: &str,
        id: String,
        ticket: Ticket,
    ) {
        let leader = self.leader.clone();
        let Some(mut old) = self.members.remove(old_id) else { return };
        // Whoever still waits under the old id is a duplicate.
        if let Some(waiting) = old.awaiting_join.take() {
            step.refuse_join(waiting, GroupError::FencedInstanceId, old_id);
        }
        if let Some(waiting) = old.awaiting_sync.take() {
            step.sync(waiting, Err(GroupError::FencedInstanceId));
        }
        if self.is_leader(old_id) {
            self.leader = Some(id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(id.clone());
        }
        if let Some(instance) = &request.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        let client = request.client.clone();
        self.members.insert(id.clone(), Member { id: id.clone(), client, is_new: false, ..old.clone() });
        self.renew(step, request, &id, ticket);
        self.expect_within_session(&id, step.now);
        match self.state {
            // As long as the next generation would speak the same protocol, nobody else needs to hear of it.
            State::Stable if self.protocol.is_some() && self.select_protocol() == self.protocol => {
                let skips_assignment = request.skips_assignment;
                let replaced = Replaced { old, new: id, leader, ticket, skips_assignment };
                self.storing = Some(Storing::Replaced(Box::new(replaced)));
                step.effects.push(Effect::Store);
            }
            State::Stable | State::CompletingRebalance => self.rebalance(step),
            State::PreparingRebalance | State::Empty => self.complete_join_if_all_are_here(step),
        }
    }

    /// The replacement of a static member is stored, or cannot be.
    pub(super) fn replaced(
        &mut self,
        step: &mut Step<'_>,
        replaced: Replaced,
        outcome: Result<(), GroupError>,
    ) {
        let Replaced { old, new, leader, ticket, skips_assignment } = replaced;
        let Some(member) = self.members.get_mut(&new) else { return };
        member.awaiting_join = None;
        if let Err(error) = outcome {
            self.members.remove(&new);
            if let Some(instance) = &old.instance {
                self.static_members.insert(instance.clone(), old.id.clone());
            }
            self.leader = leader;
            self.members.insert(old.id.clone(), old);
            return step.refuse_join(ticket, error, "");
        }
        let is_leader = self.is_leader(&new);
        let joined = self.joined(&new);
        let answer = if skips_assignment {
            let members = if is_leader { self.joined_members() } else { Vec::new() };
            Joined { members, skip_assignment: is_leader, ..joined }
        } else {
            // Told the old leader's id, an old client does not take itself for the leader and assigns nothing.
            Joined { leader: leader.unwrap_or_default(), ..joined }
        };
        step.join(ticket, Ok(answer));
    }

    /// maybePrepareRebalanceOrCompleteJoin.
    pub(super) fn rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == State::PreparingRebalance {
            self.complete_join_if_all_are_here(step);
        } else {
            self.prepare_rebalance(step);
        }
    }

    /// maybeCompleteJoinPhase: the initial wait is not cut short.
    pub(super) fn complete_join_if_all_are_here(&mut self, step: &mut Step<'_>) {
        if self.state == State::PreparingRebalance && !self.was_empty && self.all_have_joined() {
            self.complete_join(step);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(step, &GroupError::RebalanceInProgress);
        }
        self.sync_deadline = None;
        let first = self.state == State::Empty;
        self.enter(State::PreparingRebalance, step.now);
        if first {
            let delay = step.settings.initial_rebalance_delay.as_millis() as i64;
            let remaining = (self.rebalance_timeout_ms() - delay).max(0);
            self.new_member_added = false;
            self.await_members(JoinTimer::Initial { at: step.now.steady + delay, delay, remaining });
        } else if self.all_have_joined() {
            self.complete_join(step);
        } else {
            let at = step.now.steady + self.rebalance_timeout_ms();
            self.await_members(JoinTimer::Rebalance { at });
        }
    }

    fn await_members(&mut self, timer: JoinTimer) {
        self.join_timer = Some(timer);
        self.wake_by(timer.at());
    }

    /// The wait for members is over, or goes on after an initial one in which more came.
    pub(super) fn join_timer_fired(&mut self, step: &mut Step<'_>, timer: JoinTimer) {
        match timer {
            JoinTimer::Initial { delay, remaining, .. } if self.new_member_added && remaining > 0 => {
                self.new_member_added = false;
                let (next, left) = (delay.min(remaining), (remaining - delay).max(0));
                let at = step.now.steady + next;
                self.await_members(JoinTimer::Initial { at, delay: next, remaining: left });
            }
            _ => self.complete_join(step),
        }
    }

    /// Begins the next generation with those who are here (completeClassicGroupJoin).
    fn complete_join(&mut self, step: &mut Step<'_>) {
        self.join_timer = None;
        let gone = self.members.values().filter(|m| m.awaiting_join.is_none() && m.instance.is_none());
        let gone: Vec<String> = gone.map(|m| m.id.clone()).collect();
        for id in gone {
            self.remove(&id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Static members only, and none of them is back: they keep their places until their sessions end.
            let at = step.now.steady + self.rebalance_timeout_ms().max(1);
            return self.await_members(JoinTimer::Rebalance { at });
        }
        self.generation = if self.generation == i32::MAX { 0 } else { self.generation + 1 };
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.enter(State::Empty, step.now);
            self.storing = Some(Storing::Empty);
            step.effects.push(Effect::Store);
            return;
        }
        self.protocol = self.select_protocol();
        self.enter(State::CompletingRebalance, step.now);
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let members = if self.is_leader(&id) { self.joined_members() } else { Vec::new() };
            let joined = Joined { members, ..self.joined(&id) };
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
                if let Some(ticket) = member.awaiting_join.take() {
                    step.join(ticket, Ok(joined));
                }
            }
            self.expect_within_session(&id, step.now);
            self.pending_sync.insert(id);
        }
        let deadline = step.now.steady + self.rebalance_timeout_ms();
        self.sync_deadline = Some(deadline);
        self.wake_by(deadline);
    }

    /// Whether there is a leader that has joined; it may be a new one.
    fn elect_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(|m| m.awaiting_join.is_some()) {
            return true;
        }
        let here = self.members.values().find(|m| m.awaiting_join.is_some()).map(|m| m.id.clone());
        let found = here.is_some();
        self.leader = here.or_else(|| self.leader.take());
        found
    }

    /// Forgets all assignments; who waits for one is told why.
    pub(super) fn reset_assignments(&mut self, step: &mut Step<'_>, error: &GroupError) {
        self.answer_syncs(step, |member| {
            member.assignment = bytes::Bytes::new();
            Err(error.clone())
        });
    }

    /// Answers everybody who waits in a SyncGroup, and expects their heartbeats from now on.
    pub(super) fn answer_syncs(
        &mut self,
        step: &mut Step<'_>,
        mut answer: impl FnMut(&mut Member) -> Result<Synced, GroupError>,
    ) {
        let mut answered = Vec::new();
        for member in self.members.values_mut() {
            let outcome = answer(member);
            if let Some(ticket) = member.awaiting_sync.take() {
                step.sync(ticket, outcome);
                answered.push(member.id.clone());
            }
        }
        for id in answered {
            self.expect_within_session(&id, step.now);
        }
    }
}
