//! The records of `__consumer_offsets`, in Kafka's own format: lag exporters and `kafka-dump-log` read them.
//!
//! Owns: keys and values of stored offsets and classic groups (OffsetCommitKey, OffsetCommitValue, GroupMetadataKey and
//! GroupMetadataValue in group-coordinator/src/main/resources/common/message).
//! Does not own: batches; when a record is written.
//! Invariants: offsets are written as version 3 (1 with an expiry of their own), groups as version 3, as Kafka 4 does;
//! every version that Kafka ever wrote is read; bytes that are no such record read as `None`.

use bytes::Bytes;

use super::consumer::records::ConsumerKey;
use super::wire::{Reader, Writer};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const GROUP_VALUE: i16 = 3;
/// First version of each value with compact lengths.
const FLEXIBLE: i16 = 4;

/// The key of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Offset {
        group: String,
        topic: String,
        partition: i32,
    },
    Group {
        group: String,
    },
    /// Of a group of the consumer protocol.
    Consumer(ConsumerKey),
    /// Of a kind that is not known here; it is left alone, as Kafka does.
    Unknown(i16),
}

/// The value of an offset's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetValue {
    pub offset: i64,
    /// -1: unknown.
    pub leader_epoch: i32,
    pub metadata: String,
    /// When it was stored, ms since 1970 UTC.
    pub commit_ms: i64,
    /// When it expires, where the client asked for that.
    pub expire_ms: Option<i64>,
}

/// The value of a classic group's record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupValue {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// Since when the group is in its state, ms since 1970 UTC; -1 unknown.
    pub state_since_ms: i64,
    pub members: Vec<MemberValue>,
}

/// A member in a classic group's record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemberValue {
    pub member: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

impl Key {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Offset { group, topic, partition } => {
                out.i16(OFFSET_KEY).string(group).string(topic).i32(*partition);
            }
            Self::Group { group } => {
                out.i16(GROUP_KEY).string(group);
            }
            Self::Consumer(key) => return key.encode(),
            Self::Unknown(version) => {
                out.i16(*version);
            }
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut read = Reader::new(bytes);
        Some(match read.i16()? {
            0 | OFFSET_KEY => {
                Self::Offset { group: read.string()?, topic: read.string()?, partition: read.i32()? }
            }
            GROUP_KEY => Self::Group { group: read.string()? },
            version => ConsumerKey::decode(bytes).map_or(Self::Unknown(version), Self::Consumer),
        })
    }
}

impl OffsetValue {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self.expire_ms {
            Some(expire_ms) => {
                out.i16(OFFSET_VALUE_WITH_EXPIRY).i64(self.offset).string(&self.metadata);
                out.i64(self.commit_ms).i64(expire_ms);
            }
            None => {
                out.i16(OFFSET_VALUE).i64(self.offset).i32(self.leader_epoch).string(&self.metadata);
                out.i64(self.commit_ms);
            }
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut read = Reader::new(bytes);
        let version = read.i16()?;
        if !(0..=FLEXIBLE).contains(&version) {
            return None;
        }
        let offset = read.i64()?;
        let leader_epoch = if version >= 3 { read.i32()? } else { -1 };
        let metadata = if version >= FLEXIBLE { read.compact_string()? } else { read.string()? };
        let commit_ms = read.i64()?;
        let expire_ms = if version == 1 { Some(read.i64()?).filter(|at| *at >= 0) } else { None };
        Some(Self { offset, leader_epoch, metadata, commit_ms, expire_ms })
    }
}

impl GroupValue {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.i16(GROUP_VALUE).string(&self.protocol_type).i32(self.generation);
        out.nullable_string(self.protocol.as_deref()).nullable_string(self.leader.as_deref());
        out.i64(self.state_since_ms).i32(self.members.len() as i32);
        for member in &self.members {
            out.string(&member.member).nullable_string(member.instance.as_deref());
            out.string(&member.client_id).string(&member.client_host);
            out.i32(member.rebalance_timeout_ms).i32(member.session_timeout_ms);
            out.bytes(&member.subscription).bytes(&member.assignment);
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut read = Reader::new(bytes);
        match read.i16()? {
            FLEXIBLE => {
                let value = Self {
                    protocol_type: read.compact_string()?,
                    generation: read.i32()?,
                    protocol: read.compact_nullable_string()?,
                    leader: read.compact_nullable_string()?,
                    state_since_ms: read.i64()?,
                    members: read.compact_list(MemberValue::decode_flexible)?,
                };
                read.skip_tags().map(|()| value)
            }
            version @ 0..FLEXIBLE => Some(Self {
                protocol_type: read.string()?,
                generation: read.i32()?,
                protocol: read.nullable_string()?,
                leader: read.nullable_string()?,
                state_since_ms: if version >= 2 { read.i64()? } else { -1 },
                members: read.list(|read| MemberValue::decode(read, version))?,
            }),
            _ => None,
        }
    }
}

impl MemberValue {
    fn decode(read: &mut Reader<'_>, version: i16) -> Option<Self> {
        let member = read.string()?;
        let instance = if version >= 3 { read.nullable_string()? } else { None };
        let (client_id, client_host) = (read.string()?, read.string()?);
        let rebalance_timeout_ms = if version >= 1 { Some(read.i32()?) } else { None };
        let session_timeout_ms = read.i32()?;
        Some(Self {
            member,
            instance,
            client_id,
            client_host,
            // Before there was one, the session timeout was taken for it.
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: read.bytes()?,
            assignment: read.bytes()?,
        })
    }

    fn decode_flexible(read: &mut Reader<'_>) -> Option<Self> {
        let value = Self {
            member: read.compact_string()?,
            instance: read.compact_nullable_string()?,
            client_id: read.compact_string()?,
            client_host: read.compact_string()?,
            rebalance_timeout_ms: read.i32()?,
            session_timeout_ms: read.i32()?,
            subscription: read.compact_bytes()?,
            assignment: read.compact_bytes()?,
        };
        read.skip_tags().map(|()| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> MemberValue {
        MemberValue {
            member: "m-1".into(),
            instance: Some("i".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: 300_000,
            session_timeout_ms: 45_000,
            subscription: Bytes::from_static(&[1, 2]),
            assignment: Bytes::from_static(&[3]),
        }
    }

    #[test]
    fn records_are_kafkas_bytes() {
        let key = Key::Offset { group: "g".into(), topic: "t".into(), partition: 7 };
        assert_eq!(key.encode(), b"\0\x01\0\x01g\0\x01t\0\0\0\x07");
        assert_eq!(Key::decode(&key.encode()), Some(key));
        let key = Key::Group { group: "g".into() };
        assert_eq!(key.encode(), b"\0\x02\0\x01g");
        assert_eq!(Key::decode(&key.encode()), Some(key));
        assert_eq!(Key::decode(b"\0\x09rest"), Some(Key::Unknown(9)));

        let mut offset =
            OffsetValue { offset: 5, leader_epoch: 2, metadata: "m".into(), commit_ms: 9, expire_ms: None };
        assert_eq!(offset.encode(), b"\0\x03\0\0\0\0\0\0\0\x05\0\0\0\x02\0\x01m\0\0\0\0\0\0\0\x09");
        assert_eq!(OffsetValue::decode(&offset.encode()), Some(offset.clone()));
        offset.expire_ms = Some(11);
        offset.leader_epoch = -1;
        assert_eq!(OffsetValue::decode(&offset.encode()), Some(offset));

        let group = GroupValue {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: Some("m-1".into()),
            state_since_ms: 1,
            members: vec![member(), member()],
        };
        assert_eq!(GroupValue::decode(&group.encode()), Some(group));
    }

    #[test]
    fn versions_of_other_brokers_are_read() {
        let v4 = b"\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x02\x02m\0\0\0\0\0\0\0\x09\x01\0\x10AAAAAAAAAAAAAAAA";
        let value = OffsetValue::decode(v4).expect("version 4 with a topic id");
        assert_eq!((value.offset, value.leader_epoch, value.metadata.as_str()), (5, 2, "m"));
        let v0 = b"\0\0\0\0\0\0\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x09";
        assert_eq!(OffsetValue::decode(v0).expect("version 0").leader_epoch, -1);
        let mut v4 = b"\0\x04\x09consumer\0\0\0\x03\x06range\x04m-1\0\0\0\0\0\0\0\x01\x02".to_vec();
        v4.extend(b"\x04m-1\x02i\x02c\x0b/127.0.0.1\0\x04\x93\xe0\0\0\xaf\xc8\x03\x01\x02\x02\x03\0\0");
        let value = GroupValue::decode(&v4).expect("version 4");
        assert_eq!(value.members, vec![member()]);
        let v0 = b"\0\0\0\x01t\0\0\0\x01\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(GroupValue::decode(v0).expect("version 0").state_since_ms, -1);
    }

    #[test]
    fn cut_records_are_none() {
        let group = GroupValue { members: vec![member()], ..GroupValue::default() }.encode();
        for end in 0..group.len() {
            assert_eq!(GroupValue::decode(&group[..end]), None, "{end}");
        }
        let key = Key::Offset { group: "g".into(), topic: "t".into(), partition: 7 }.encode();
        for end in 0..key.len() {
            assert_eq!(Key::decode(&key[..end]), None, "{end}");
        }
        assert_eq!(
            GroupValue::decode(b"\0\x03\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\x7f\xff\xff\xff"),
            None
        );
    }
}
