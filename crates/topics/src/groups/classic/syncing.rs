//! SyncGroup: from the leader's assignments to a stable group (GroupMetadataManager.classicGroupSync).
//!
//! Owns: assignments on their way to the members, the end of storing.
//! Does not own: how a group is stored.
//! Invariants: an assignment is handed out only once the record that holds it is in the log.

use bytes::Bytes;

use super::{ClassicGroup, State, Storing};
use crate::groups::{Effect, GroupError, Step, SyncGroup, Synced, Ticket};

/// Two names that are both told and differ.
fn differ(told: Option<&str>, known: Option<&str>) -> bool {
    told.is_some() && known.is_some() && told != known
}

impl ClassicGroup {
    /// SyncGroup. The ticket is answered now, or once the leader's assignments are stored.
    pub(crate) fn sync(&mut self, step: &mut Step<'_>, request: &SyncGroup, ticket: Ticket) {
        if let Err(error) = self.validate_sync(request) {
            return step.sync(ticket, Err(error));
        }
        let id = &request.member;
        match self.state {
            State::Empty => step.sync(ticket, Err(GroupError::UnknownMemberId)),
            State::PreparingRebalance => step.sync(ticket, Err(GroupError::RebalanceInProgress)),
            State::Stable => {
                self.pending_sync.remove(id);
                let assignment = self.members.get(id).map(|m| m.assignment.clone());
                step.sync(ticket, Ok(self.synced(assignment.unwrap_or_default())));
            }
            State::CompletingRebalance => {
                self.pending_sync.remove(id);
                let before = self.members.get_mut(id).and_then(|m| m.awaiting_sync.replace(ticket));
                if let Some(forgotten) = before {
                    step.sync(forgotten, Err(GroupError::RebalanceInProgress));
                }
                if self.is_leader(id) {
                    self.assign(step, &request.assignments);
                }
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroup) -> Result<(), GroupError> {
        self.validate_member(&request.member, request.instance.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let other_type = differ(request.protocol_type.as_deref(), self.protocol_type.as_deref());
        if other_type || differ(request.protocol.as_deref(), self.protocol.as_deref()) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced { protocol_type: self.protocol_type.clone(), protocol: self.protocol.clone(), assignment }
    }

    /// Takes the leader's assignments; a member that it left out gets an empty one.
    fn assign(&mut self, step: &mut Step<'_>, assignments: &[(String, Bytes)]) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(id) {
                member.assignment = assignment.clone();
            }
        }
        self.storing = Some(Storing::Assignments);
        step.effects.push(Effect::Store);
    }

    /// What [`Effect::Store`] asked for is in the log, or cannot be.
    pub(crate) fn stored(&mut self, step: &mut Step<'_>, outcome: Result<(), GroupError>) {
        match self.storing.take() {
            Some(Storing::Assignments) => match outcome {
                Ok(()) => self.propagate(step),
                Err(error) => {
                    self.reset_assignments(step, &error);
                    self.rebalance(step);
                }
            },
            Some(Storing::Replaced(replaced)) => self.replaced(step, *replaced, outcome),
            // The next record of the group tells the same.
            Some(Storing::Empty) | None => {}
        }
    }

    fn propagate(&mut self, step: &mut Step<'_>) {
        self.enter(State::Stable, step.now);
        let names = self.synced(Bytes::new());
        self.answer_syncs(step, |member| {
            Ok(Synced { assignment: member.assignment.clone(), ..names.clone() })
        });
    }
}
