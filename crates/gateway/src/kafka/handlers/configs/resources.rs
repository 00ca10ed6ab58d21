//! ListConfigResources (KIP-1142): what has properties.
//!
//! Owns: the kinds of resources that can be asked for.

use std::sync::Arc;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::super::super::{Broker, NODE_ID};
use super::super::text;
use super::{BROKER, TOPIC};

/// Kinds that Kafka knows and this broker has none of: loggers, client metrics, groups.
const WITHOUT: [i8; 3] = [8, 16, 32];

pub(in super::super) async fn list(
    broker: Arc<Broker>,
    version: i16,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    // Version 0 asks for client metrics.
    let asked = if version == 0 { vec![16] } else { request.resource_types };
    if asked.iter().any(|kind| ![TOPIC, BROKER].contains(kind) && !WITHOUT.contains(kind)) {
        return ListConfigResourcesResponse::default().with_error_code(Code::UnsupportedVersion.code());
    }
    let wants = |kind: i8| asked.is_empty() || asked.contains(&kind);
    let resource = |kind: i8, name: String| {
        ConfigResource::default().with_resource_type(kind).with_resource_name(text(name))
    };
    let mut resources = Vec::new();
    if wants(TOPIC) {
        resources.extend(broker.topics.list().iter().map(|t| resource(TOPIC, t.name.to_string())));
    }
    if wants(BROKER) {
        resources.push(resource(BROKER, NODE_ID.to_string()));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}
