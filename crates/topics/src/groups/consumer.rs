//! A group of the consumer protocol (KIP-848): the coordinator assigns, members follow one after the other.
//!
//! Owns: members with their epochs, the target assignment; its children are `heartbeat` (ConsumerGroupHeartbeat),
//! `reconcile` (what a member may have now), `records` (how all of it is stored).
//! Does not own: how partitions are spread (`super::assignors`), stored offsets (`super::offsets`).
//! Invariants: follows Kafka's ConsumerGroup and CurrentAssignmentBuilder; a partition is with one member at a time,
//! those included that a member still has to give back; every change is a record, and a step whose records cannot be
//! stored has not happened (the owner steps a clone and takes it over).

use std::collections::{BTreeMap, BTreeSet};

use base::TopicId;

use super::assignors::{Assignment, Assignor};
use super::{Client, ConsumerGroupDescription, ConsumerMemberDescription, GroupError, Identity, Now};

pub(crate) mod heartbeat;
mod reconcile;
pub(crate) mod records;
#[cfg(test)]
mod tests;

/// Epoch with which a member joins.
pub(crate) const JOINING: i32 = 0;
/// Epoch with which a member leaves.
pub(crate) const LEAVING: i32 = -1;
/// Epoch with which a static member leaves for a while.
pub(crate) const LEAVING_FOR_A_WHILE: i32 = -2;

/// The topics there are, as the coordinator sees them.
pub(crate) trait Catalogue {
    /// Changes whenever a topic comes, goes or grows.
    fn version(&self) -> u64;
    /// Id and number of partitions.
    fn find(&self, topic: &str) -> Option<(TopicId, i32)>;
    /// Names of the topics that clients may subscribe to by pattern.
    fn names(&self) -> Vec<String>;
}

/// How far a member has come towards its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberState {
    Stable,
    /// It has to give partitions back first.
    UnrevokedPartitions,
    /// Partitions of its target are still with others.
    UnreleasedPartitions,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    id: String,
    instance: Option<String>,
    rack: Option<String>,
    client: Client,
    rebalance_timeout_ms: i32,
    topics: BTreeSet<String>,
    regex: Option<String>,
    assignor: Option<String>,
    epoch: i32,
    previous_epoch: i32,
    state: MemberState,
    assigned: Assignment,
    /// What it was told to give back and has not.
    revoking: Assignment,
    /// When it must have been heard of.
    deadline: i64,
    /// When it must have given back what it was told to.
    revoke_by: Option<i64>,
}

impl Member {
    fn new(id: &str, now: Now) -> Self {
        Self {
            id: id.to_owned(),
            instance: None,
            rack: None,
            client: Client::default(),
            rebalance_timeout_ms: -1,
            topics: BTreeSet::new(),
            regex: None,
            assignor: None,
            epoch: JOINING,
            previous_epoch: LEAVING,
            state: MemberState::Stable,
            assigned: Assignment::new(),
            revoking: Assignment::new(),
            deadline: now.steady,
            revoke_by: None,
        }
    }

    fn holds(&self, topic: TopicId, partition: i32) -> bool {
        let holds = |own: &Assignment| own.get(&topic).is_some_and(|p| p.contains(&partition));
        holds(&self.assigned) || holds(&self.revoking)
    }

    /// Matches nothing when the pattern was stored by somebody with other ideas of one.
    fn matches(&self, names: &[String]) -> BTreeSet<String> {
        let mut topics = self.topics.clone();
        if let Some(pattern) = self.regex.as_deref().filter(|p| !p.is_empty())
            && let Ok(regex) = compile(pattern)
        {
            topics.extend(names.iter().filter(|name| regex.is_match(name)).cloned());
        }
        topics
    }
}

/// Most memory that one compiled pattern may take, bytes.
const REGEX_BYTES_MAX: usize = 256 << 10;

/// A pattern of topic names, to be matched whole. The syntax is that of RE2, which Kafka asks for.
fn compile(pattern: &str) -> Result<regex::Regex, GroupError> {
    let whole = format!("^(?:{pattern})$");
    regex::RegexBuilder::new(&whole)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|e| GroupError::InvalidRegularExpression(format!("`{pattern}` is no pattern: {e}")))
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConsumerGroup {
    epoch: i32,
    assignment_epoch: i32,
    members: BTreeMap<String, Member>,
    static_members: BTreeMap<String, String>,
    target: BTreeMap<String, Assignment>,
    /// The subscribed topics that exist, by name.
    topics: BTreeMap<String, (TopicId, i32)>,
    /// Version of the catalogue in which `topics` was looked up.
    seen: Option<u64>,
    wake: Option<i64>,
}

impl ConsumerGroup {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn wake(&self) -> Option<i64> {
        self.wake
    }

    /// Kafka's name of the state.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.values().all(|m| self.is_reconciled(m)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    fn is_reconciled(&self, member: &Member) -> bool {
        member.state == MemberState::Stable && member.epoch == self.assignment_epoch
    }

    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        let name = [topic.to_owned()];
        self.members.values().any(|m| m.matches(&name).contains(topic))
    }

    /// Whether offsets may be stored by who calls itself so (ConsumerGroup.validateOffsetCommit). `knows_epochs`: the
    /// request's version has member epochs.
    pub(crate) fn validate_commit(
        &self,
        who: &Identity,
        in_transaction: bool,
        knows_epochs: bool,
    ) -> Result<(), GroupError> {
        if who.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        if in_transaction && who.generation < 0 && who.member.is_empty() && who.instance.is_none() {
            return Ok(());
        }
        let member = self.members.get(&who.member).ok_or(GroupError::UnknownMemberId)?;
        if !in_transaction && !knows_epochs {
            return Err(GroupError::UnsupportedVersion(
                "members of the consumer protocol store offsets with version 9 or later".into(),
            ));
        }
        if who.generation == member.epoch { Ok(()) } else { Err(GroupError::StaleMemberEpoch) }
    }

    /// Whether offsets may be fetched by who calls itself so; administrators do not.
    pub(crate) fn validate_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), GroupError> {
        if member.is_none_or(str::is_empty) && epoch < 0 {
            return Ok(());
        }
        let known = member.and_then(|id| self.members.get(id)).ok_or(GroupError::UnknownMemberId)?;
        if known.epoch == epoch { Ok(()) } else { Err(GroupError::StaleMemberEpoch) }
    }

    pub(crate) fn describe(&self) -> ConsumerGroupDescription {
        let empty = Assignment::new();
        let members = self.members.values().map(|member| ConsumerMemberDescription {
            member: member.id.clone(),
            instance: member.instance.clone(),
            rack: member.rack.clone(),
            epoch: member.epoch,
            client: member.client.clone(),
            topics: member.topics.iter().cloned().collect(),
            regex: member.regex.clone(),
            assignment: self.named(&member.assigned),
            target: self.named(self.target.get(&member.id).unwrap_or(&empty)),
        });
        ConsumerGroupDescription {
            state: self.state_name(),
            epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor: self.assignor().name(),
            members: members.collect(),
        }
    }

    /// With the names of the topics; one that has gone is left out.
    fn named(&self, assignment: &Assignment) -> Vec<(TopicId, String, Vec<i32>)> {
        let names: BTreeMap<TopicId, &String> =
            self.topics.iter().map(|(name, (id, _))| (*id, name)).collect();
        let known = assignment.iter().filter_map(|(topic, partitions)| {
            Some((*topic, (*names.get(topic)?).clone(), partitions.iter().copied().collect()))
        });
        known.collect()
    }

    /// The assignor that most members ask for.
    fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for vote in self.members.values().filter_map(|m| Assignor::named(m.assignor.as_deref()?)) {
            *votes.entry(vote).or_default() += 1;
        }
        // Of two with as many votes the first, which is the default.
        let best = votes.into_iter().max_by_key(|(assignor, votes)| (*votes, std::cmp::Reverse(*assignor)));
        best.map_or(Assignor::DEFAULT, |(assignor, _)| assignor)
    }

    fn wake_by(&mut self, at: i64) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn set_wake(&mut self) {
        let deadlines = self.members.values().flat_map(|m| [Some(m.deadline), m.revoke_by]);
        self.wake = deadlines.flatten().min();
    }
}
