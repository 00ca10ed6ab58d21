//! From a frame to the work that answers it.
//!
//! Owns: decoding a checked request, choosing its handler, by way of `rights`.
//! Does not own: the order of answers (`connection`).
//! Invariants: `dispatch` runs in request order and starts appends before it returns; everything else happens when
//! the answer is awaited, so a request sees the effects of the ones before it on its connection.

mod acls;
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
mod rights;
mod topic_partitions;
mod topics;
mod transactions;
mod users;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use ::access::Operation;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kafka_protocol::messages::{HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::Broker;
use super::connection::Close;
use super::frame::{self, Header, Parsed};
use super::reply::Reply;
use super::session::{Caller, Session};
use super::versions::Api;

/// What a request comes to: a reply, nothing (acks=0), or the end of the connection.
pub(super) type Answer = BoxFuture<'static, Result<Option<Reply>, Close>>;

/// The value of a field with operations that was not asked for.
const NOT_ASKED: i32 = i32::MIN;

/// What a request comes with.
struct Asked {
    caller: Caller,
    broker: Arc<Broker>,
    peer: SocketAddr,
    client_id: Bytes,
    header: Header,
    body: Bytes,
}

/// Reads `frame` and starts the work on it.
pub(super) async fn dispatch(
    session: &mut Session,
    broker: &Arc<Broker>,
    peer: SocketAddr,
    frame: Bytes,
) -> Result<Answer, Close> {
    if session.takes_bare_token() {
        let token = session.bare_token(frame).await;
        let reply = token.map(Reply::bare).transpose()?;
        return Ok(async move { Ok(reply) }.boxed());
    }
    let (header, client_id, body) = match frame::parse(frame)? {
        Parsed::Request { header, client_id, body } => (header, client_id, body),
        Parsed::UnknownApiVersions { correlation_id } => {
            return api_versions::unknown_version(correlation_id);
        }
    };
    let (api, version) = (header.served.api, header.version);
    tracing::trace!(%peer, ?api, version, "kafka request");
    // The three that are answered whoever asks; for all others there has to be a caller.
    let caller = match api {
        Api::ApiVersions => return Ok(reply(header, api_versions::list(version, decode(&header, body)?))),
        Api::SaslHandshake => {
            let answer = session.handshake(version, &decode(&header, body)?);
            return Ok(reply(header, std::future::ready(answer)));
        }
        Api::SaslAuthenticate => {
            let answer = session.authenticate(version, decode(&header, body)?).await;
            return Ok(reply(header, std::future::ready(answer)));
        }
        api => session.caller(api)?,
    };
    let asked = Asked { caller, broker: Arc::clone(broker), peer, client_id, header, body };
    dispatch_known(asked).await
}

/// The requests of callers.
async fn dispatch_known(asked: Asked) -> Result<Answer, Close> {
    let header = asked.header;
    match header.served.api {
        Api::Produce => {
            produce::start(&asked.caller, &asked.broker, header, decode(&header, asked.body)?).await
        }
        Api::Fetch => {
            let request = decode(&header, asked.body)?;
            Ok(fetch::answer(asked.caller, asked.broker, header, request).boxed())
        }
        Api::InitProducerId
        | Api::AddPartitionsToTxn
        | Api::AddOffsetsToTxn
        | Api::EndTxn
        | Api::WriteTxnMarkers
        | Api::DescribeProducers
        | Api::DescribeTransactions
        | Api::ListTransactions => dispatch_transaction(asked),
        Api::FindCoordinator
        | Api::OffsetCommit
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
        | Api::DeleteGroups => dispatch_group(asked),
        Api::ListOffsets
        | Api::OffsetForLeaderEpoch
        | Api::Metadata
        | Api::DescribeCluster
        | Api::DescribeTopicPartitions
        | Api::CreateTopics
        | Api::DeleteTopics
        | Api::CreatePartitions
        | Api::DescribeConfigs
        | Api::AlterConfigs
        | Api::IncrementalAlterConfigs
        | Api::DeleteRecords => dispatch_topic(asked),
        _ => dispatch_cluster(asked),
    }
}

/// The requests about topics, their properties and their records.
fn dispatch_topic(asked: Asked) -> Result<Answer, Close> {
    let Asked { caller, broker, header, body, .. } = asked;
    let version = header.version;
    match header.served.api {
        Api::ListOffsets => {
            ask(header, body, move |r| rights::records::list_offsets(caller, broker, version, r))
        }
        Api::OffsetForLeaderEpoch => {
            ask(header, body, move |r| rights::records::for_leader_epoch(caller, broker, r))
        }
        Api::DeleteRecords => ask(header, body, move |r| rights::records::delete(caller, broker, r)),
        Api::Metadata => ask(header, body, move |r| rights::topics::metadata(caller, broker, version, r)),
        Api::DescribeCluster => {
            ask(header, body, move |r| rights::topics::describe_cluster(caller, broker, r))
        }
        Api::DescribeTopicPartitions => {
            ask(header, body, move |r| rights::topics::describe_partitions(caller, broker, r))
        }
        Api::CreateTopics => ask(header, body, move |r| rights::topics::create(caller, broker, version, r)),
        Api::DeleteTopics => ask(header, body, move |r| rights::topics::delete(caller, broker, version, r)),
        Api::CreatePartitions => {
            ask(header, body, move |r| rights::topics::add_partitions(caller, broker, r))
        }
        Api::DescribeConfigs => {
            ask(header, body, move |r| rights::topics::describe_configs(caller, broker, version, r))
        }
        Api::AlterConfigs => ask(header, body, move |r| rights::topics::replace_configs(caller, broker, r)),
        Api::IncrementalAlterConfigs => {
            ask(header, body, move |r| rights::topics::alter_configs(caller, broker, r))
        }
        other => Err(Close::Internal(format!("{other:?} is no request about topics"))),
    }
}

/// The requests about the node as a whole, with the operation on the cluster that each needs.
fn dispatch_cluster(asked: Asked) -> Result<Answer, Close> {
    let version = asked.header.version;
    match asked.header.served.api {
        Api::DescribeQuorum => {
            on_cluster(asked, Operation::Describe, move |b, r| quorum::describe(b, version, r))
        }
        Api::AlterReplicaLogDirs => on_cluster(asked, Operation::Alter, move |b, r| log_dirs::alter(b, r)),
        Api::DescribeLogDirs => on_cluster(asked, Operation::Describe, move |b, r| log_dirs::describe(b, r)),
        Api::ElectLeaders => {
            let Asked { caller, broker, header, body, .. } = asked;
            ask(header, body, move |r| rights::elect_leaders(caller, broker, version, r))
        }
        Api::AlterPartitionReassignments => {
            on_cluster(asked, Operation::Alter, move |b, r| replicas::reassign(b, r))
        }
        Api::ListPartitionReassignments => {
            on_cluster(asked, Operation::Describe, move |b, r| replicas::list_reassignments(b, r))
        }
        Api::DescribeClientQuotas => {
            on_cluster(asked, Operation::DescribeConfigs, move |b, r| quotas::describe(b, r))
        }
        Api::AlterClientQuotas => on_cluster(asked, Operation::AlterConfigs, move |b, r| quotas::alter(b, r)),
        Api::ListConfigResources => {
            on_cluster(asked, Operation::DescribeConfigs, move |b, r| configs::list(b, version, r))
        }
        Api::CreateAcls => on_cluster(asked, Operation::Alter, move |b, r| acls::create(b, r)),
        Api::DescribeAcls => on_cluster(asked, Operation::Describe, move |b, r| acls::describe(b, r)),
        Api::DeleteAcls => on_cluster(asked, Operation::Alter, move |b, r| acls::delete(b, r)),
        Api::DescribeUserScramCredentials => {
            on_cluster(asked, Operation::Describe, move |b, r| users::describe(b, r))
        }
        Api::AlterUserScramCredentials => on_cluster(asked, Operation::Alter, move |b, r| users::alter(b, r)),
        other => Err(Close::Internal(format!("{other:?} is no request about the node"))),
    }
}

/// The requests of producers and their transactions.
fn dispatch_transaction(asked: Asked) -> Result<Answer, Close> {
    let Asked { caller, broker, header, body, .. } = asked;
    let version = header.version;
    match header.served.api {
        Api::InitProducerId => {
            ask(header, body, move |r| rights::transactions::init_producer(caller, broker, version, r))
        }
        Api::AddPartitionsToTxn => {
            ask(header, body, move |r| rights::transactions::add_partitions(caller, broker, version, r))
        }
        Api::AddOffsetsToTxn => {
            ask(header, body, move |r| rights::transactions::add_offsets(caller, broker, version, r))
        }
        Api::EndTxn => ask(header, body, move |r| rights::transactions::end(caller, broker, version, r)),
        Api::WriteTxnMarkers => {
            ask(header, body, move |r| rights::transactions::write_markers(caller, broker, r))
        }
        Api::DescribeProducers => {
            ask(header, body, move |r| rights::records::describe_producers(caller, broker, r))
        }
        Api::DescribeTransactions => {
            ask(header, body, move |r| rights::transactions::describe(caller, broker, r))
        }
        Api::ListTransactions => {
            ask(header, body, move |r| rights::transactions::list(caller, broker, version, r))
        }
        other => Err(Close::Internal(format!("{other:?} is no request about transactions"))),
    }
}

/// The requests of consumer groups.
fn dispatch_group(asked: Asked) -> Result<Answer, Close> {
    let Asked { caller, broker, header, body, peer, client_id } = asked;
    let version = header.version;
    let client = groups::client(peer, &client_id);
    match header.served.api {
        Api::FindCoordinator => {
            ask(header, body, move |r| rights::groups::find_coordinator(caller, broker, version, r))
        }
        Api::OffsetCommit => {
            ask(header, body, move |r| rights::groups::commit_offsets(caller, broker, version, r))
        }
        Api::TxnOffsetCommit => {
            ask(header, body, move |r| rights::groups::commit_in_transaction(caller, broker, r))
        }
        Api::OffsetFetch => {
            ask(header, body, move |r| rights::groups::fetch_offsets(caller, broker, version, r))
        }
        Api::OffsetDelete => ask(header, body, move |r| rights::groups::delete_offsets(caller, broker, r)),
        Api::JoinGroup => ask(header, body, move |r| {
            rights::groups::join(caller, version, r, move |r| groups::join(broker, client, version, r))
        }),
        Api::SyncGroup => ask(header, body, move |r: SyncGroupRequest| {
            rights::groups::as_member(caller, r.group_id.clone(), r, move |r| {
                groups::sync(broker, version, r)
            })
        }),
        Api::Heartbeat => ask(header, body, move |r: HeartbeatRequest| {
            rights::groups::as_member(caller, r.group_id.clone(), r, move |r| groups::heartbeat(broker, r))
        }),
        Api::LeaveGroup => ask(header, body, move |r: LeaveGroupRequest| {
            rights::groups::as_member(caller, r.group_id.clone(), r, move |r| {
                groups::leave(broker, version, r)
            })
        }),
        Api::ConsumerGroupHeartbeat => ask(header, body, move |r| {
            rights::groups::consumer_heartbeat(caller, r, move |r| {
                groups::consumer_heartbeat(broker, client, version, r)
            })
        }),
        Api::ConsumerGroupDescribe => {
            ask(header, body, move |r| rights::groups::describe_consumers(caller, broker, version, r))
        }
        Api::ListGroups => ask(header, body, move |r| rights::groups::list(caller, broker, r)),
        Api::DescribeGroups => ask(header, body, move |r| {
            rights::groups::describe(caller, r, move |r| groups::describe(broker, peer, version, r))
        }),
        Api::DeleteGroups => ask(header, body, move |r| rights::groups::delete(caller, broker, r)),
        other => Err(Close::Internal(format!("{other:?} is no request of consumer groups"))),
    }
}

/// Decodes a request and begins to answer it.
fn ask<R, T, F>(header: Header, body: Bytes, work: impl FnOnce(R) -> F) -> Result<Answer, Close>
where
    R: Decodable,
    T: Encodable + Send,
    F: Future<Output = T> + Send + 'static,
{
    Ok(reply(header, work(decode(&header, body)?)))
}

/// The same for those with the right on the cluster.
fn on_cluster<R, F, W>(asked: Asked, operation: Operation, work: W) -> Result<Answer, Close>
where
    R: Decodable + rights::Refuse + Send + 'static,
    R::Answer: Encodable + Send,
    F: Future<Output = R::Answer> + Send + 'static,
    W: FnOnce(Arc<Broker>, R) -> F + Send + 'static,
{
    let Asked { caller, broker, header, body, .. } = asked;
    ask(header, body, move |request| rights::cluster(caller, operation, request, move |r| work(broker, r)))
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
