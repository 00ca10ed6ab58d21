//! The records of consumer groups in `__consumer_offsets`, in Kafka's own format (ConsumerGroup*Key and *Value in
//! group-coordinator/src/main/resources/common/message).
//!
//! Owns: keys 3 and 5 to 8 with their values, and a group as its records tell it.
//! Does not own: when they are written.
//! Invariants: values are written as version 0; key 4, which Kafka has given up, and keys of later programs are left
//! alone.

use std::collections::BTreeSet;

use base::TopicId;

use super::{Assignment, Catalogue, Client, ConsumerGroup, JOINING, Member, MemberState, Now};
use crate::groups::wire::{Reader, Writer};
use crate::settings::GroupSettings;

const EPOCH: i16 = 3;
const MEMBER: i16 = 5;
const ASSIGNMENT_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const VALUE: i16 = 0;

/// Key and value; no value is a tombstone.
pub(crate) type KeyValue = (Vec<u8>, Option<Vec<u8>>);

/// Records that one step wants stored together.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The group they are about.
    pub group: String,
    pub records: Vec<KeyValue>,
}

impl Changes {
    pub(crate) fn push(&mut self, record: KeyValue) {
        self.records.push(record);
    }
    pub(crate) fn extend(&mut self, records: impl IntoIterator<Item = KeyValue>) {
        self.records.extend(records);
    }
}

/// The key of a record of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConsumerKey {
    Epoch { group: String },
    Member { group: String, member: String },
    AssignmentEpoch { group: String },
    Target { group: String, member: String },
    Current { group: String, member: String },
}

impl ConsumerKey {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut read = Reader::new(bytes);
        let (version, group) = (read.i16()?, read.string()?);
        Some(match version {
            EPOCH => Self::Epoch { group },
            ASSIGNMENT_EPOCH => Self::AssignmentEpoch { group },
            MEMBER => Self::Member { group, member: read.string()? },
            TARGET => Self::Target { group, member: read.string()? },
            CURRENT => Self::Current { group, member: read.string()? },
            _ => return None,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Epoch { group } => key(EPOCH, group, None),
            Self::AssignmentEpoch { group } => key(ASSIGNMENT_EPOCH, group, None),
            Self::Member { group, member } => key(MEMBER, group, Some(member)),
            Self::Target { group, member } => key(TARGET, group, Some(member)),
            Self::Current { group, member } => key(CURRENT, group, Some(member)),
        }
    }

    pub(crate) fn group(&self) -> &str {
        match self {
            Self::Epoch { group }
            | Self::AssignmentEpoch { group }
            | Self::Member { group, .. }
            | Self::Target { group, .. }
            | Self::Current { group, .. } => group,
        }
    }
}

fn key(version: i16, group: &str, member: Option<&str>) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(version).string(group);
    if let Some(member) = member {
        out.string(member);
    }
    out.finish()
}

fn number(value: i32) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(VALUE).i32(value).no_tags();
    out.finish()
}

fn put_assignment(out: &mut Writer, assignment: &Assignment) {
    out.compact_count(assignment.len());
    for (topic, partitions) in assignment {
        out.uuid(topic.0).compact_count(partitions.len());
        for partition in partitions {
            out.i32(*partition);
        }
        out.no_tags();
    }
}

fn read_assignment(read: &mut Reader<'_>) -> Option<Assignment> {
    let topics = read.compact_list(|read| {
        let topic = TopicId(read.uuid()?);
        let partitions: BTreeSet<i32> = read.compact_list(Reader::i32)?.into_iter().collect();
        read.skip_tags()?;
        Some((topic, partitions))
    })?;
    Some(topics.into_iter().collect())
}

pub(super) fn epoch(group: &str, epoch: i32) -> KeyValue {
    (key(EPOCH, group, None), Some(number(epoch)))
}

pub(super) fn assignment_epoch(group: &str, epoch: i32) -> KeyValue {
    (key(ASSIGNMENT_EPOCH, group, None), Some(number(epoch)))
}

pub(super) fn member(group: &str, member: &Member) -> KeyValue {
    let mut out = Writer::default();
    out.i16(VALUE);
    out.compact_nullable_string(member.instance.as_deref()).compact_nullable_string(member.rack.as_deref());
    out.compact_string(&member.client.id).compact_string(&member.client.host);
    out.compact_count(member.topics.len());
    for topic in &member.topics {
        out.compact_string(topic);
    }
    out.compact_nullable_string(member.regex.as_deref()).i32(member.rebalance_timeout_ms);
    out.compact_nullable_string(member.assignor.as_deref()).no_tags();
    (key(MEMBER, group, Some(&member.id)), Some(out.finish()))
}

pub(super) fn target(group: &str, member: &str, assignment: &Assignment) -> KeyValue {
    let mut out = Writer::default();
    out.i16(VALUE);
    put_assignment(&mut out, assignment);
    out.no_tags();
    (key(TARGET, group, Some(member)), Some(out.finish()))
}

pub(super) fn current(group: &str, member: &Member) -> KeyValue {
    let mut out = Writer::default();
    out.i16(VALUE).i32(member.epoch).i32(member.previous_epoch).i8(member.state.code());
    put_assignment(&mut out, &member.assigned);
    put_assignment(&mut out, &member.revoking);
    out.no_tags();
    (key(CURRENT, group, Some(&member.id)), Some(out.finish()))
}

/// Tombstones of all that is stored of a member.
pub(super) fn forget_member(group: &str, member: &str) -> [KeyValue; 3] {
    [CURRENT, TARGET, MEMBER].map(|version| (key(version, group, Some(member)), None))
}

/// Tombstones of a group without members.
pub(crate) fn forget_group(group: &str) -> [KeyValue; 2] {
    [ASSIGNMENT_EPOCH, EPOCH].map(|version| (key(version, group, None), None))
}

impl MemberState {
    /// Kafka's number.
    fn code(self) -> i8 {
        match self {
            Self::Stable => 1,
            Self::UnrevokedPartitions => 2,
            Self::UnreleasedPartitions => 3,
        }
    }

    fn of_code(code: i8) -> Self {
        match code {
            2 => Self::UnrevokedPartitions,
            3 => Self::UnreleasedPartitions,
            _ => Self::Stable,
        }
    }
}

impl Member {
    /// Whether the record of what it has would be the same.
    pub(super) fn stands_like(&self, other: &Self) -> bool {
        (self.epoch, self.previous_epoch, self.state) == (other.epoch, other.previous_epoch, other.state)
            && (&self.assigned, &self.revoking) == (&other.assigned, &other.revoking)
    }
}

impl ConsumerGroup {
    /// Takes a record over; `None` when its value makes no sense.
    pub(crate) fn replay(&mut self, key: &ConsumerKey, value: Option<&[u8]>, now: Now) -> Option<()> {
        let mut read = value.map(Reader::new);
        if let Some(read) = &mut read
            && read.i16()? != VALUE
        {
            return None;
        }
        match (key, read) {
            (ConsumerKey::Epoch { .. }, Some(mut read)) => self.epoch = read.i32()?,
            (ConsumerKey::AssignmentEpoch { .. }, Some(mut read)) => self.assignment_epoch = read.i32()?,
            (ConsumerKey::Member { member, .. }, Some(mut read)) => {
                let known = self.members.remove(member).unwrap_or_else(|| Member::new(member, now));
                let read = &mut read;
                let next = Member {
                    instance: read.compact_nullable_string()?,
                    rack: read.compact_nullable_string()?,
                    client: Client { id: read.compact_string()?, host: read.compact_string()? },
                    topics: read.compact_list(Reader::compact_string)?.into_iter().collect(),
                    regex: read.compact_nullable_string()?,
                    rebalance_timeout_ms: read.i32()?,
                    assignor: read.compact_nullable_string()?,
                    ..known
                };
                self.members.insert(member.clone(), next);
            }
            (ConsumerKey::Target { member, .. }, Some(mut read)) => {
                self.target.insert(member.clone(), read_assignment(&mut read)?);
            }
            (ConsumerKey::Current { member, .. }, Some(mut read)) => {
                let known = self.members.remove(member).unwrap_or_else(|| Member::new(member, now));
                let read = &mut read;
                let next = Member {
                    epoch: read.i32()?,
                    previous_epoch: read.i32()?,
                    state: MemberState::of_code(read.i8()?),
                    assigned: read_assignment(read)?,
                    revoking: read_assignment(read)?,
                    ..known
                };
                self.members.insert(member.clone(), next);
            }
            (ConsumerKey::Member { member, .. }, None) => drop(self.members.remove(member)),
            (ConsumerKey::Target { member, .. }, None) => drop(self.target.remove(member)),
            (ConsumerKey::Current { member, .. }, None) => {
                if let Some(known) = self.members.get_mut(member) {
                    (known.epoch, known.state) = (JOINING, MemberState::Stable);
                    known.assigned.clear();
                    known.revoking.clear();
                }
            }
            (ConsumerKey::Epoch { .. } | ConsumerKey::AssignmentEpoch { .. }, None) => {}
        }
        Some(())
    }

    /// All records are read: members have their whole sessions before them.
    pub(crate) fn restored(&mut self, now: Now, settings: &GroupSettings, catalogue: &dyn Catalogue) {
        let session = settings.consumer_session_timeout.as_millis() as i64;
        for member in self.members.values_mut() {
            member.deadline = now.steady + session;
            let revokes = member.state == MemberState::UnrevokedPartitions;
            member.revoke_by = revokes.then(|| now.steady + i64::from(member.rebalance_timeout_ms.max(0)));
            if let Some(instance) = &member.instance {
                self.static_members.insert(instance.clone(), member.id.clone());
            }
        }
        self.topics = self.find_topics(catalogue);
        self.seen = Some(catalogue.version());
        self.set_wake();
    }
}
