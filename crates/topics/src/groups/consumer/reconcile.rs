//! From what a member has to what it shall have (Kafka's CurrentAssignmentBuilder).
//!
//! Owns: revocation before assignment, the member's epoch.
//! Does not own: the target.
//! Invariants: a member gets a partition only when nobody else has it; it stays in its epoch until it has given back
//! what it shall not have any more.

use std::collections::BTreeSet;

use base::TopicId;

use super::{ConsumerGroup, Member, MemberState};
use crate::groups::assignors::Assignment;

/// Whether `owned` has a partition of `these`; who does not say what it owns still has everything.
fn still_owns(owned: Option<&Assignment>, these: &Assignment) -> bool {
    let Some(owned) = owned else { return true };
    these.iter().any(|(topic, partitions)| owned.get(topic).is_some_and(|own| !own.is_disjoint(partitions)))
}

fn insert(into: &mut Assignment, topic: TopicId, partitions: BTreeSet<i32>) {
    if !partitions.is_empty() {
        into.entry(topic).or_default().extend(partitions);
    }
}

impl ConsumerGroup {
    /// Whether [`Self::reconcile`] would change nothing.
    pub(super) fn is_settled(&self, member: &Member, owned: Option<&Assignment>) -> bool {
        match member.state {
            MemberState::Stable => member.epoch == self.assignment_epoch,
            MemberState::UnrevokedPartitions => still_owns(owned, &member.revoking),
            MemberState::UnreleasedPartitions => false,
        }
    }

    /// The member, one step closer to its target. `owned` is what it says that it has.
    pub(super) fn reconcile(&self, member: &Member, owned: Option<&Assignment>) -> Member {
        if self.is_settled(member, owned) {
            return member.clone();
        }
        let epoch = match member.state {
            // What it had to give back, it has: the epoch in which it had that is over.
            MemberState::UnrevokedPartitions => member.epoch + 1,
            MemberState::Stable | MemberState::UnreleasedPartitions => member.epoch,
        };
        let none = Assignment::new();
        let target = self.target.get(&member.id).unwrap_or(&none);
        let mut assigned = Assignment::new();
        let mut revoking = Assignment::new();
        let mut new = Assignment::new();
        let mut unreleased = false;
        let topics: BTreeSet<TopicId> = target.keys().chain(member.assigned.keys()).copied().collect();
        for topic in topics {
            let empty = BTreeSet::new();
            let shall = target.get(&topic).unwrap_or(&empty);
            let has = member.assigned.get(&topic).unwrap_or(&empty);
            insert(&mut assigned, topic, has.intersection(shall).copied().collect());
            insert(&mut revoking, topic, has.difference(shall).copied().collect());
            let (taken, free): (BTreeSet<i32>, BTreeSet<i32>) = shall
                .difference(has)
                .partition(|partition| self.is_with_another(&member.id, topic, **partition));
            unreleased |= !taken.is_empty();
            insert(&mut new, topic, free);
        }
        if !revoking.is_empty() && still_owns(owned, &revoking) {
            let state = MemberState::UnrevokedPartitions;
            return advance(Member { state, assigned, revoking, ..member.clone() }, epoch);
        }
        for (topic, partitions) in new {
            insert(&mut assigned, topic, partitions);
        }
        let state = if unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        let next = Member { state, assigned, revoking: Assignment::new(), ..member.clone() };
        advance(next, self.assignment_epoch)
    }

    fn is_with_another(&self, id: &str, topic: TopicId, partition: i32) -> bool {
        self.members.values().any(|other| other.id != id && other.holds(topic, partition))
    }
}

fn advance(member: Member, epoch: i32) -> Member {
    if member.epoch == epoch {
        return member;
    }
    Member { previous_epoch: member.epoch, epoch, ..member }
}
