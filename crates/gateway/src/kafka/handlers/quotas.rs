//! DescribeClientQuotas and AlterClientQuotas: none are kept.
//!
//! Owns: saying so. A quota that nobody enforces is refused rather than stored.

use std::sync::Arc;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};

use super::super::Broker;
use super::text;

pub(super) async fn describe(
    _broker: Arc<Broker>,
    _request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse::default().with_entries(Some(Vec::new()))
}

pub(super) async fn alter(
    _broker: Arc<Broker>,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let entries = request.entries.into_iter().map(|entry| {
        let entity = entry.entity.into_iter().map(|entity| {
            EntityData::default().with_entity_type(entity.entity_type).with_entity_name(entity.entity_name)
        });
        let answered = EntryData::default().with_entity(entity.collect());
        match entry.ops.iter().find(|op| !op.remove) {
            // What is not there is removed already.
            None => answered.with_error_message(None),
            Some(op) => {
                let message = format!(
                    "quota {} is not set: this broker keeps and enforces no client quotas; it slows clients down \
                     by the limits of its own settings",
                    op.key.as_str()
                );
                answered.with_error_code(Code::InvalidRequest.code()).with_error_message(Some(text(message)))
            }
        }
    });
    AlterClientQuotasResponse::default().with_entries(entries.collect())
}
