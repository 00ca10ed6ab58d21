//! Heartbeat, LeaveGroup and what happens when nothing is heard of a member.
//!
//! Owns: timers, the removal of members.
//! Does not own: the rebalance that follows (`joining`).

use super::{ClassicGroup, State};
use crate::groups::{GroupError, Identity, Leaving, Step};

impl ClassicGroup {
    /// Heartbeat: a sign of life, answered with what the member should do.
    pub(crate) fn heartbeat(&mut self, step: &Step<'_>, who: &Identity) -> Result<(), GroupError> {
        self.validate_member(&who.member, who.instance.as_deref())?;
        if who.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.note_alive(step, &who.member);
        match self.state {
            State::Empty => Err(GroupError::UnknownMemberId),
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Something was heard of a member. Who waits in a request is not timed by it.
    pub(crate) fn note_alive(&mut self, step: &Step<'_>, id: &str) {
        let waits = self.members.get(id).is_some_and(|m| m.is_new);
        if !waits {
            self.expect_within_session(id, step.now);
        }
    }

    /// LeaveGroup; one outcome for each.
    pub(crate) fn leave(&mut self, step: &mut Step<'_>, leaving: &[Leaving]) -> Vec<Result<(), GroupError>> {
        let outcomes: Vec<_> = leaving.iter().map(|one| self.leave_one(step, one)).collect();
        if outcomes.iter().any(Result::is_ok) {
            self.somebody_left(step);
        }
        outcomes
    }

    fn leave_one(&mut self, step: &mut Step<'_>, leaving: &Leaving) -> Result<(), GroupError> {
        let id = if leaving.member.is_empty() {
            let known = leaving.instance.as_ref().and_then(|instance| self.static_members.get(instance));
            known.cloned().ok_or(GroupError::UnknownMemberId)?
        } else if self.pending_join.contains_key(&leaving.member) {
            self.remove(&leaving.member);
            return Ok(());
        } else {
            self.validate_member(&leaving.member, leaving.instance.as_deref())?;
            leaving.member.clone()
        };
        self.dismiss(step, &id);
        Ok(())
    }

    /// Removes a member; who waits in its name is told that it is none any more.
    fn dismiss(&mut self, step: &mut Step<'_>, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            if let Some(ticket) = member.awaiting_join.take() {
                step.refuse_join(ticket, GroupError::UnknownMemberId, "");
            }
            if let Some(ticket) = member.awaiting_sync.take() {
                step.sync(ticket, Err(GroupError::UnknownMemberId));
            }
        }
        self.remove(id);
    }

    fn somebody_left(&mut self, step: &mut Step<'_>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.rebalance(step),
            State::PreparingRebalance => self.complete_join_if_all_are_here(step),
            State::Empty => {}
        }
    }

    /// Does what is due, and looks up when the next thing is.
    pub(crate) fn fire(&mut self, step: &mut Step<'_>) {
        let now = step.now.steady;
        self.expire_sessions(step);
        if let Some(timer) = self.join_timer
            && timer.at() <= now
        {
            self.join_timer = None;
            self.join_timer_fired(step, timer);
        }
        if self.sync_deadline.is_some_and(|at| at <= now) {
            self.sync_deadline = None;
            self.expire_sync(step);
        }
        let sessions = self.members.values().filter_map(|m| m.deadline);
        let others = self.join_timer.map(|t| t.at()).into_iter().chain(self.sync_deadline);
        self.wake = sessions.chain(self.pending_join.values().copied()).chain(others).min();
    }

    fn expire_sessions(&mut self, step: &mut Step<'_>) {
        let now = step.now.steady;
        let pending = self.pending_join.iter().filter(|(_, at)| **at <= now);
        let mut gone: Vec<String> = pending.map(|(id, _)| id.clone()).collect();
        for member in self.members.values_mut() {
            if member.deadline.is_some_and(|at| at <= now) {
                member.deadline = None;
                // Who waits for an answer shows by that that it is there, unless it has been waiting all too long.
                let waits = member.awaiting_join.is_some() || member.awaiting_sync.is_some();
                if member.is_new || !waits {
                    gone.push(member.id.clone());
                }
            }
        }
        let mut members_left = false;
        for id in &gone {
            if self.pending_join.remove(id).is_none() {
                self.dismiss(step, id);
                members_left = true;
            }
        }
        if members_left {
            self.somebody_left(step);
        } else if !gone.is_empty() {
            self.complete_join_if_all_are_here(step);
        }
    }

    /// Whoever has not sent a SyncGroup in time does not belong to the group any more (expirePendingSync).
    fn expire_sync(&mut self, step: &mut Step<'_>) {
        let late = match self.state {
            State::CompletingRebalance | State::Stable => std::mem::take(&mut self.pending_sync),
            State::Empty | State::PreparingRebalance => return,
        };
        if late.is_empty() {
            return;
        }
        for id in &late {
            self.dismiss(step, id);
        }
        self.prepare_rebalance(step);
    }
}
