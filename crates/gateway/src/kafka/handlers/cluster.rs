//! DescribeCluster (KIP-700).

use std::sync::Arc;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::super::{Broker, NODE_ID};
use super::{NOT_ASKED, text};

/// The endpoint type of brokers; the other one, controllers, has no endpoint of its own here (KIP-919).
const BROKERS: i8 = 1;

pub(super) async fn describe(
    broker: Arc<Broker>,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_cluster_id(broker.cluster_id.clone())
        .with_controller_id(NODE_ID.into());
    if request.endpoint_type != BROKERS {
        return response
            .with_error_code(Code::MismatchedEndpointType.code())
            .with_error_message(Some(text("this endpoint is a broker's: ask for endpoint type 1")));
    }
    response
        .with_brokers(vec![
            DescribeClusterBroker::default()
                .with_broker_id(NODE_ID.into())
                .with_host(broker.host.clone())
                .with_port(broker.port),
        ])
        .with_cluster_authorized_operations(NOT_ASKED)
}
