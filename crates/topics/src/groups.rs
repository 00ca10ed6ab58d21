//! Consumer groups: the state machines of the group coordinator, without any I/O.
//!
//! Owns: Kafka's classic group protocol (`classic`), the consumer protocol of KIP-848 (`consumer`, `assignors`), the offsets that groups store (`offsets`), the records of both in
//! `__consumer_offsets` (`records`), the words of the group port.
//! Does not own: time, locks, the log (`embedded/groups` drives the machines); what protocol metadata means, apart from
//! the topics a consumer subscribes to.
//! Invariants: a machine is a function of its state, the moment and one event; what it wants done it says as
//! [`Effect`]s, and every ticket it was given is answered exactly once. Kafka's `Dead` is a group that is not there.

use base::TopicId;
use bytes::Bytes;

pub(crate) mod assignors;
pub(crate) mod classic;
pub(crate) mod consumer;
mod error;
pub(crate) mod offsets;
pub(crate) mod records;
pub(crate) mod subscription;
mod wire;

pub use error::GroupError;

/// The moment of an event, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since some moment in the past; never goes back: what timers run on.
    pub steady: i64,
    /// Since 1970 UTC: what is stored.
    pub wall: i64,
}

/// Who sent a request, as DescribeGroups shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    pub id: String,
    pub host: String,
}

/// JoinGroup.
#[derive(Debug, Clone, Default)]
pub struct JoinGroup {
    pub group: String,
    /// Empty for a member that has no id yet.
    pub member: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance: Option<String>,
    pub client: Client,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// Names with opaque metadata, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
    /// A new dynamic member is given an id first and joins with it (KIP-394, version 4).
    pub id_first: bool,
    /// A returning static leader may be told to skip the assignment (KIP-814, version 9).
    pub skips_assignment: bool,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    pub member: String,
    pub instance: Option<String>,
    pub metadata: Bytes,
}

/// The answer to a JoinGroup that succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub member: String,
    /// Everybody, for the leader; nobody for the others.
    pub members: Vec<JoinedMember>,
    pub skip_assignment: bool,
}

/// The answer to a JoinGroup that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefused {
    pub error: GroupError,
    /// The id to go on with; empty for none.
    pub member: String,
}

/// SyncGroup.
#[derive(Debug, Clone, Default)]
pub struct SyncGroup {
    pub group: String,
    pub member: String,
    pub instance: Option<String>,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// Opaque assignments by member id, from the leader.
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to a SyncGroup that succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

/// Who a request claims to be in a group.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub member: String,
    pub instance: Option<String>,
    /// Generation of a classic group, member epoch of a consumer group; -1 outside of any.
    pub generation: i32,
}

/// One member of a LeaveGroup. With an instance and no id, an administrator removes a static member.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    pub member: String,
    pub instance: Option<String>,
}

/// An offset to be stored for a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetToStore {
    pub partition: i32,
    pub offset: i64,
    /// -1: unknown.
    pub leader_epoch: i32,
    pub metadata: String,
}

/// OffsetCommit and TxnOffsetCommit.
#[derive(Debug, Clone, Default)]
pub struct CommitOffsets {
    pub group: String,
    pub identity: Identity,
    /// The request's version has member epochs (KIP-848).
    pub knows_epochs: bool,
    /// Set by old clients: how long the offsets are kept, ms.
    pub retention_ms: Option<i64>,
    pub topics: Vec<(String, Vec<OffsetToStore>)>,
}

/// What became of each offset: topics and partitions in the order of the request.
pub type CommitOutcome = Vec<(String, Vec<(i32, Result<(), GroupError>)>)>;

/// A stored offset; offset -1 when there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    pub error: Option<GroupError>,
}

/// Stored offsets by topic.
pub type FetchedOffsets = Vec<(String, Vec<FetchedOffset>)>;

/// A line of ListGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    pub group: String,
    pub protocol_type: String,
    pub state: &'static str,
    /// `classic` or `consumer`.
    pub kind: &'static str,
}

/// A member in DescribeGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    pub member: String,
    pub instance: Option<String>,
    pub client: Client,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// A classic group in DescribeGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<MemberDescription>,
}

/// Topics with partitions.
pub type TopicPartitions = Vec<(TopicId, Vec<i32>)>;

/// ConsumerGroupHeartbeat (KIP-848). What is `None`, or -1, is as it was.
#[derive(Debug, Clone, Default)]
pub struct ConsumerHeartbeat {
    pub group: String,
    pub member: String,
    /// 0 joins, -1 leaves, -2 leaves for a while (static members).
    pub epoch: i32,
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub client: Client,
    pub rebalance_timeout_ms: i32,
    pub topics: Option<Vec<String>>,
    /// In the syntax of RE2; matched with whole names.
    pub regex: Option<String>,
    pub assignor: Option<String>,
    pub owned: Option<TopicPartitions>,
    /// The member makes its id itself (version 1).
    pub id_required: bool,
}

/// The answer to a ConsumerGroupHeartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    pub member: String,
    pub epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// What the member shall have; none when that has not changed.
    pub assignment: Option<TopicPartitions>,
}

/// Topics with their names and partitions.
pub type NamedPartitions = Vec<(TopicId, String, Vec<i32>)>;

/// A member in ConsumerGroupDescribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerMemberDescription {
    pub member: String,
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub epoch: i32,
    pub client: Client,
    pub topics: Vec<String>,
    pub regex: Option<String>,
    pub assignment: NamedPartitions,
    pub target: NamedPartitions,
}

/// A group in ConsumerGroupDescribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupDescription {
    pub state: &'static str,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: &'static str,
    pub members: Vec<ConsumerMemberDescription>,
}

/// Stands for a request that waits for its answer.
pub(crate) type Ticket = u64;

/// What a machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Answer a JoinGroup.
    Join(Ticket, Result<Joined, JoinRefused>),
    /// Answer a SyncGroup.
    Sync(Ticket, Result<Synced, GroupError>),
    /// Store the group's metadata, then tell the machine ([`classic::ClassicGroup::stored`]).
    Store,
}

/// One step of a machine: the moment, the limits, and what it wants done.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub now: Now,
    pub settings: &'a crate::settings::GroupSettings,
    pub effects: Vec<Effect>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(now: Now, settings: &'a crate::settings::GroupSettings) -> Self {
        Self { now, settings, effects: Vec::new() }
    }

    fn join(&mut self, ticket: Ticket, outcome: Result<Joined, JoinRefused>) {
        self.effects.push(Effect::Join(ticket, outcome));
    }

    fn refuse_join(&mut self, ticket: Ticket, error: GroupError, member: &str) {
        self.join(ticket, Err(JoinRefused { error, member: member.to_owned() }));
    }

    fn sync(&mut self, ticket: Ticket, outcome: Result<Synced, GroupError>) {
        self.effects.push(Effect::Sync(ticket, outcome));
    }
}
