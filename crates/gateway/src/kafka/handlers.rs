//! From a frame to the work that answers it.
//!
//! Owns: decoding a checked request, choosing its handler.
//! Does not own: the order of answers (`connection`).
//! Invariants: `dispatch` runs in request order and starts appends before it returns; everything else happens when
//! the answer is awaited, so a request sees the effects of the ones before it on its connection.

mod api_versions;
mod cluster;
mod configs;
mod fetch;
mod groups;
mod log_dirs;
mod metadata;
mod offsets;
mod produce;
mod quorum;
mod quotas;
mod records;
mod replicas;
mod topic_partitions;
mod topics;
mod transactions;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::Broker;
use super::connection::Close;
use super::frame::{self, Header, Parsed};
use super::reply::Reply;
use super::versions::Api;

/// What a request comes to: a reply, nothing (acks=0), or the end of the connection.
pub(super) type Answer = BoxFuture<'static, Result<Option<Reply>, Close>>;

/// Operations that everybody may do while there is no authorizer, as bits by AclOperation's codes.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
const GROUP_OPERATIONS: i32 = 0b1_0100_1000;
/// The value of a field with operations that was not asked for.
const NOT_ASKED: i32 = i32::MIN;

/// Reads `frame` and starts the work on it.
pub(super) async fn dispatch(broker: &Arc<Broker>, peer: SocketAddr, frame: Bytes) -> Result<Answer, Close> {
    let (header, client_id, body) = match frame::parse(frame)? {
        Parsed::Request { header, client_id, body } => (header, client_id, body),
        Parsed::UnknownApiVersions { correlation_id } => {
            return api_versions::unknown_version(correlation_id);
        }
    };
    tracing::trace!(%peer, api = ?header.served.api, version = header.version, "kafka request");
    let broker = Arc::clone(broker);
    Ok(match header.served.api {
        Api::Produce => return produce::start(&broker, header, decode(&header, body)?).await,
        Api::Fetch => fetch::answer(broker, header, decode(&header, body)?).boxed(),
        Api::ListOffsets => reply(header, offsets::list(broker, header.version, decode(&header, body)?)),
        Api::OffsetForLeaderEpoch => reply(header, offsets::for_leader_epoch(broker, decode(&header, body)?)),
        Api::Metadata => reply(header, metadata::describe(broker, header.version, decode(&header, body)?)),
        Api::ApiVersions => reply(header, api_versions::list(header.version, decode(&header, body)?)),
        Api::DescribeQuorum => {
            reply(header, quorum::describe(broker, header.version, decode(&header, body)?))
        }
        Api::DescribeCluster => reply(header, cluster::describe(broker, decode(&header, body)?)),
        Api::InitProducerId
        | Api::AddPartitionsToTxn
        | Api::AddOffsetsToTxn
        | Api::EndTxn
        | Api::WriteTxnMarkers
        | Api::DescribeProducers
        | Api::DescribeTransactions
        | Api::ListTransactions => return dispatch_transaction(broker, header, body),
        Api::FindCoordinator => {
            reply(header, groups::find_coordinator(broker, header.version, decode(&header, body)?))
        }
        Api::OffsetCommit
        | Api::TxnOffsetCommit
        | Api::ConsumerGroupHeartbeat
        | Api::ConsumerGroupDescribe
        | Api::OffsetFetch
        | Api::OffsetDelete
        | Api::JoinGroup
        | Api::SyncGroup
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::ListGroups
        | Api::DescribeGroups
        | Api::DeleteGroups => return dispatch_group(broker, peer, &client_id, header, body),
        Api::CreateTopics => reply(header, topics::create(broker, header.version, decode(&header, body)?)),
        Api::DeleteTopics => reply(header, topics::delete(broker, header.version, decode(&header, body)?)),
        Api::CreatePartitions => reply(header, topics::add_partitions(broker, decode(&header, body)?)),
        Api::DescribeConfigs => {
            reply(header, configs::describe(broker, header.version, decode(&header, body)?))
        }
        Api::AlterConfigs => reply(header, configs::replace(broker, decode(&header, body)?)),
        Api::IncrementalAlterConfigs => reply(header, configs::alter(broker, decode(&header, body)?)),
        Api::DeleteRecords => reply(header, records::delete(broker, decode(&header, body)?)),
        Api::AlterReplicaLogDirs => reply(header, log_dirs::alter(broker, decode(&header, body)?)),
        Api::DescribeLogDirs => reply(header, log_dirs::describe(broker, decode(&header, body)?)),
        Api::ElectLeaders => reply(header, replicas::elect(broker, decode(&header, body)?)),
        Api::AlterPartitionReassignments => reply(header, replicas::reassign(broker, decode(&header, body)?)),
        Api::ListPartitionReassignments => {
            reply(header, replicas::list_reassignments(broker, decode(&header, body)?))
        }
        Api::DescribeClientQuotas => reply(header, quotas::describe(broker, decode(&header, body)?)),
        Api::AlterClientQuotas => reply(header, quotas::alter(broker, decode(&header, body)?)),
        Api::ListConfigResources => {
            reply(header, configs::list(broker, header.version, decode(&header, body)?))
        }
        Api::DescribeTopicPartitions => {
            reply(header, topic_partitions::describe(broker, decode(&header, body)?))
        }
    })
}

/// The requests of producers and their transactions.
fn dispatch_transaction(broker: Arc<Broker>, header: Header, body: Bytes) -> Result<Answer, Close> {
    let version = header.version;
    Ok(match header.served.api {
        Api::InitProducerId => {
            reply(header, transactions::init_producer(broker, version, decode(&header, body)?))
        }
        Api::AddPartitionsToTxn => {
            reply(header, transactions::add_partitions(broker, version, decode(&header, body)?))
        }
        Api::AddOffsetsToTxn => {
            reply(header, transactions::add_offsets(broker, version, decode(&header, body)?))
        }
        Api::EndTxn => reply(header, transactions::end(broker, version, decode(&header, body)?)),
        Api::WriteTxnMarkers => reply(header, transactions::write_markers(broker, decode(&header, body)?)),
        Api::DescribeProducers => {
            reply(header, transactions::describe_producers(broker, decode(&header, body)?))
        }
        Api::DescribeTransactions => reply(header, transactions::describe(broker, decode(&header, body)?)),
        Api::ListTransactions => reply(header, transactions::list(broker, version, decode(&header, body)?)),
        other => return Err(Close::Internal(format!("{other:?} is no request about transactions"))),
    })
}

/// The requests of consumer groups.
fn dispatch_group(
    broker: Arc<Broker>,
    peer: SocketAddr,
    client_id: &Bytes,
    header: Header,
    body: Bytes,
) -> Result<Answer, Close> {
    let version = header.version;
    Ok(match header.served.api {
        Api::OffsetCommit => reply(header, groups::commit_offsets(broker, version, decode(&header, body)?)),
        Api::TxnOffsetCommit => reply(header, groups::commit_in_transaction(broker, decode(&header, body)?)),
        Api::OffsetFetch => reply(header, groups::fetch_offsets(broker, version, decode(&header, body)?)),
        Api::OffsetDelete => reply(header, groups::delete_offsets(broker, decode(&header, body)?)),
        Api::JoinGroup => {
            let client = groups::client(peer, client_id);
            reply(header, groups::join(broker, client, version, decode(&header, body)?))
        }
        Api::ConsumerGroupHeartbeat => {
            let client = groups::client(peer, client_id);
            reply(header, groups::consumer_heartbeat(broker, client, version, decode(&header, body)?))
        }
        Api::ConsumerGroupDescribe => {
            reply(header, groups::describe_consumers(broker, version, decode(&header, body)?))
        }
        Api::SyncGroup => reply(header, groups::sync(broker, version, decode(&header, body)?)),
        Api::Heartbeat => reply(header, groups::heartbeat(broker, decode(&header, body)?)),
        Api::LeaveGroup => reply(header, groups::leave(broker, version, decode(&header, body)?)),
        Api::ListGroups => reply(header, groups::list(broker, decode(&header, body)?)),
        Api::DescribeGroups => reply(header, groups::describe(broker, peer, version, decode(&header, body)?)),
        Api::DeleteGroups => reply(header, groups::delete(broker, decode(&header, body)?)),
        other => return Err(Close::Internal(format!("{other:?} is no request of consumer groups"))),
    })
}

fn decode<T: Decodable>(header: &Header, mut body: Bytes) -> Result<T, Close> {
    T::decode(&mut body, header.version)
        .map_err(|e| Close::Decode(format!("{:?} version {}: {e}", header.served.api, header.version)))
}

fn reply<T, F>(header: Header, response: F) -> Answer
where
    T: Encodable + Send,
    F: Future<Output = T> + Send + 'static,
{
    async move {
        let response = response.await;
        Ok(Some(Reply::encode(&header, &response)?))
    }
    .boxed()
}

/// Text for a response field.
fn text(of: impl ToString) -> StrBytes {
    StrBytes::from_string(of.to_string())
}

/// Runs what reads files off the threads that serve connections.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Close> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Close::Internal(e.to_string()))
}
