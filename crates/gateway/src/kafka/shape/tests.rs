//! The table against the codec: whatever the table makes, the codec reads to the last byte, and what the codec then
//! writes, the walker accepts to the last byte. Cut or lengthened, it is refused.

use bytes::{BufMut, Bytes};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::*;
use crate::kafka::versions::{Api, SERVED, Served};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Writes random requests by the table.
struct Maker<'a> {
    random: &'a mut Random,
    version: i16,
    flexible: bool,
}

impl Maker<'_> {
    fn fields(&mut self, fields: &[Field]) -> Vec<u8> {
        let (mut out, version) = (Vec::new(), self.version);
        for field in fields.iter().filter(|f| f.tag.is_none() && f.is_in(version)) {
            out.extend(self.kind(field.kind));
        }
        if self.flexible {
            let known: Vec<_> = fields
                .iter()
                .filter(|f| f.is_in(self.version))
                .filter_map(|f| Some((f.tag?, f.kind)))
                .collect();
            let unknown = self.random.below(3);
            varint(&mut out, known.len() as u64 + unknown);
            for (tag, kind) in known {
                let value = self.kind(kind);
                varint(&mut out, tag.into());
                varint(&mut out, value.len() as u64);
                out.extend(value);
            }
            for tag in 0..unknown {
                varint(&mut out, 100 + tag);
                varint(&mut out, 2);
                out.extend([1, 2]);
            }
        }
        out
    }

    fn kind(&mut self, kind: Kind) -> Vec<u8> {
        let length = self.random.below(4) as usize;
        match kind {
            Kind::Fixed(1) => vec![self.random.below(2) as u8],
            Kind::Fixed(width) => (0..width).map(|_| self.random.below(256) as u8).collect(),
            Kind::Text => self.with_length(2, length, vec![b'x'; length]),
            Kind::Bytes => {
                let long = length * 100;
                self.with_length(4, long, vec![7; long])
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::Nullable(_) if length == 0 => vec![0xff],
            Kind::Nullable(fields) => [vec![1], self.fields(fields)].concat(),
            Kind::Array(element) => {
                let elements = (0..length).flat_map(|_| self.kind(*element)).collect();
                self.with_length(4, length, elements)
            }
        }
    }

    fn with_length(&self, width: usize, length: usize, content: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        if self.flexible {
            varint(&mut out, length as u64 + 1);
        } else {
            out.put_int(length as i64, width);
        }
        out.extend(content);
        out
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Decodes with the codec to the last byte and encodes again.
fn round_trip<T: Decodable + Encodable + HeaderVersion>(
    bytes: &Bytes,
    served: &Served,
    version: i16,
) -> Vec<u8> {
    let at = format!("{:?} version {version}", served.api);
    let mut rest = bytes.clone();
    let decoded = T::decode(&mut rest, version).unwrap_or_else(|e| panic!("{at}: {e}\n{bytes:02x?}"));
    assert!(rest.is_empty(), "{at}: {} bytes left", rest.len());
    assert_eq!(T::header_version(version) == 2, served.is_flexible(version), "{at}");
    let mut out = Vec::new();
    decoded.encode(&mut out, version).unwrap_or_else(|e| panic!("{at}: {e}"));
    out
}

/// `$with::<Request>(..)` for the request of an api.
macro_rules! with_request {
    ($api:expr, $with:ident ( $($arg:expr),* )) => {
        match $api {
            Api::Produce => $with::<m::ProduceRequest>($($arg),*),
            Api::Fetch => $with::<m::FetchRequest>($($arg),*),
            Api::ListOffsets => $with::<m::ListOffsetsRequest>($($arg),*),
            Api::Metadata => $with::<m::MetadataRequest>($($arg),*),
            Api::ConsumerGroupHeartbeat => $with::<m::ConsumerGroupHeartbeatRequest>($($arg),*),
            Api::ConsumerGroupDescribe => $with::<m::ConsumerGroupDescribeRequest>($($arg),*),
            Api::TxnOffsetCommit => $with::<m::TxnOffsetCommitRequest>($($arg),*),
            Api::OffsetCommit => $with::<m::OffsetCommitRequest>($($arg),*),
            Api::OffsetFetch => $with::<m::OffsetFetchRequest>($($arg),*),
            Api::JoinGroup => $with::<m::JoinGroupRequest>($($arg),*),
            Api::Heartbeat => $with::<m::HeartbeatRequest>($($arg),*),
            Api::LeaveGroup => $with::<m::LeaveGroupRequest>($($arg),*),
            Api::SyncGroup => $with::<m::SyncGroupRequest>($($arg),*),
            Api::DeleteGroups => $with::<m::DeleteGroupsRequest>($($arg),*),
            Api::OffsetDelete => $with::<m::OffsetDeleteRequest>($($arg),*),
            Api::FindCoordinator => $with::<m::FindCoordinatorRequest>($($arg),*),
            Api::DescribeGroups => $with::<m::DescribeGroupsRequest>($($arg),*),
            Api::ListGroups => $with::<m::ListGroupsRequest>($($arg),*),
            Api::ApiVersions => $with::<m::ApiVersionsRequest>($($arg),*),
            Api::CreateTopics => $with::<m::CreateTopicsRequest>($($arg),*),
            Api::DeleteTopics => $with::<m::DeleteTopicsRequest>($($arg),*),
            Api::InitProducerId => $with::<m::InitProducerIdRequest>($($arg),*),
            Api::OffsetForLeaderEpoch => $with::<m::OffsetForLeaderEpochRequest>($($arg),*),
            Api::AddPartitionsToTxn => $with::<m::AddPartitionsToTxnRequest>($($arg),*),
            Api::AddOffsetsToTxn => $with::<m::AddOffsetsToTxnRequest>($($arg),*),
            Api::EndTxn => $with::<m::EndTxnRequest>($($arg),*),
            Api::WriteTxnMarkers => $with::<m::WriteTxnMarkersRequest>($($arg),*),
            Api::DescribeProducers => $with::<m::DescribeProducersRequest>($($arg),*),
            Api::DescribeTransactions => $with::<m::DescribeTransactionsRequest>($($arg),*),
            Api::ListTransactions => $with::<m::ListTransactionsRequest>($($arg),*),
            Api::DescribeConfigs => $with::<m::DescribeConfigsRequest>($($arg),*),
            Api::AlterConfigs => $with::<m::AlterConfigsRequest>($($arg),*),
            Api::CreatePartitions => $with::<m::CreatePartitionsRequest>($($arg),*),
            Api::IncrementalAlterConfigs => $with::<m::IncrementalAlterConfigsRequest>($($arg),*),
            Api::DescribeQuorum => $with::<m::DescribeQuorumRequest>($($arg),*),
            Api::DescribeCluster => $with::<m::DescribeClusterRequest>($($arg),*),
            Api::DeleteRecords => $with::<m::DeleteRecordsRequest>($($arg),*),
            Api::AlterReplicaLogDirs => $with::<m::AlterReplicaLogDirsRequest>($($arg),*),
            Api::DescribeLogDirs => $with::<m::DescribeLogDirsRequest>($($arg),*),
            Api::ElectLeaders => $with::<m::ElectLeadersRequest>($($arg),*),
            Api::AlterPartitionReassignments => $with::<m::AlterPartitionReassignmentsRequest>($($arg),*),
            Api::ListPartitionReassignments => $with::<m::ListPartitionReassignmentsRequest>($($arg),*),
            Api::DescribeClientQuotas => $with::<m::DescribeClientQuotasRequest>($($arg),*),
            Api::AlterClientQuotas => $with::<m::AlterClientQuotasRequest>($($arg),*),
            Api::ListConfigResources => $with::<m::ListConfigResourcesRequest>($($arg),*),
            Api::DescribeTopicPartitions => $with::<m::DescribeTopicPartitionsRequest>($($arg),*),
            Api::SaslHandshake => $with::<m::SaslHandshakeRequest>($($arg),*),
            Api::SaslAuthenticate => $with::<m::SaslAuthenticateRequest>($($arg),*),
            Api::CreateAcls => $with::<m::CreateAclsRequest>($($arg),*),
            Api::DescribeAcls => $with::<m::DescribeAclsRequest>($($arg),*),
            Api::DeleteAcls => $with::<m::DeleteAclsRequest>($($arg),*),
            Api::DescribeUserScramCredentials => $with::<m::DescribeUserScramCredentialsRequest>($($arg),*),
            Api::AlterUserScramCredentials => $with::<m::AlterUserScramCredentialsRequest>($($arg),*),
        }
    };
}

/// Decodes with the codec, which may refuse.
fn survive<T: Decodable>(mut bytes: Bytes, version: i16) {
    drop(T::decode(&mut bytes, version));
}

fn each_version(mut visit: impl FnMut(&'static Served, i16)) {
    for served in &SERVED {
        (served.usable_min..=served.max).for_each(|version| visit(served, version));
    }
}

#[test]
fn table_and_codec_agree_on_every_request() {
    let mut random = Random(42);
    each_version(|served, version| {
        let flexible = served.is_flexible(version);
        for _ in 0..50 {
            let made = Maker { random: &mut random, version, flexible }.fields(served.shape);
            let at = || format!("{:?} version {version}: {made:02x?}", served.api);
            assert_eq!(check(served.shape, version, flexible, &made), Ok(made.len()), "{}", at());
            let written = with_request!(served.api, round_trip(&made.clone().into(), served, version));
            assert_eq!(check(served.shape, version, flexible, &written), Ok(written.len()), "{}", at());
            for end in 0..made.len() {
                assert!(check(served.shape, version, flexible, &made[..end]).is_err(), "{end} of {}", at());
            }
            let longer = [&made[..], &[0]].concat();
            assert_eq!(check(served.shape, version, flexible, &longer), Ok(made.len()));
        }
    });
}

/// Whatever the walker lets through, the codec may refuse but must survive; a panic or abort fails the test run.
#[test]
fn damaged_requests_are_refused_or_harmless() {
    let mut random = Random(7);
    each_version(|served, version| {
        let flexible = served.is_flexible(version);
        for _ in 0..200 {
            let mut made = Maker { random: &mut random, version, flexible }.fields(served.shape);
            for _ in 0..=random.below(3) {
                if made.is_empty() {
                    break;
                }
                let at = random.below(made.len() as u64) as usize;
                made[at] = [0x00, 0x7f, 0x80, 0xff][random.below(4) as usize];
            }
            if check(served.shape, version, flexible, &made).is_ok() {
                with_request!(served.api, survive(made.into(), version));
            }
        }
    });
}

#[test]
fn lengths_that_the_bytes_cannot_hold_are_refused() {
    let metadata = |version, bytes: &[u8]| check(table::METADATA, version, version >= 9, bytes);
    assert!(matches!(metadata(1, &[0x7f, 0xff, 0xff, 0xff]), Err(ShapeError::Length { .. })));
    assert!(matches!(metadata(1, &[0xff, 0xff, 0xff, 0xfe]), Err(ShapeError::Length { length: -2, .. })));
    assert_eq!(metadata(1, &[0xff, 0xff, 0xff, 0xff]), Ok(4));
    let compact = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(matches!(metadata(9, &compact), Err(ShapeError::Length { .. })));
    assert!(matches!(metadata(9, &[0xff; 6]), Err(ShapeError::VarInt(0))));
    // Twelve bytes of Produce version 3: null id, acks, timeout, then 2^31-1 topics.
    let produce = [0xff, 0xff, 0, 1, 0, 0, 0, 9, 0x7f, 0xff, 0xff, 0xff];
    assert!(matches!(check(table::PRODUCE, 3, false, &produce), Err(ShapeError::Length { .. })));
}

#[test]
fn elements_and_tags_are_counted() {
    // 1,000,001 topic names of no bytes in DescribeGroups version 0.
    let count = ELEMENTS_MAX + 1;
    let mut many = (count as u32).to_be_bytes().to_vec();
    many.resize(4 + 2 * count, 0);
    assert_eq!(check(table::DESCRIBE_GROUPS, 0, false, &many), Err(ShapeError::Elements));
    let mut tags = Vec::new();
    varint(&mut tags, u64::from(TAGS_MAX) + 1);
    tags.resize(100_000, 0);
    assert_eq!(tagged_fields_len(&tags), Err(ShapeError::Tags(TAGS_MAX + 1)));
    // A known tag whose content is shorter than it says: the codec would read on at the wrong place.
    let replica_state = Field { kind: Kind::Fixed(4), since: 0, until: 9, tag: Some(0) };
    assert!(matches!(
        check(&[replica_state], 0, true, &[1, 0, 5, 1, 2, 3, 4, 5]),
        Err(ShapeError::TagSize { tag: 0, announced: 5, held: 4 })
    ));
}
