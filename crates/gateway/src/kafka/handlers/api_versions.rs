//! ApiVersions: the first request of every client (KIP-35, KIP-511, KIP-584).
//!
//! Owns: the list of apis as clients see it.
//! Does not own: the list itself (`versions`).
//! Invariants: answered whatever version is asked; the response header is the oldest in every version.

use futures::FutureExt;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::super::connection::Close;
use super::super::errors;
use super::super::frame::Header;
use super::super::reply::Reply;
use super::super::versions::{Api, SERVED, served};
use super::Answer;

/// The feature that says which group protocols there are: 1 has the consumer protocol (KIP-848).
const GROUP_VERSION: &str = "group.version";
/// First ApiVersions whose clients read features that begin at 0 (KAFKA-17011).
const ZERO_FEATURES_SINCE: i16 = 4;

/// Answers with the list.
pub(super) async fn list(version: i16, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let named =
        is_software_word(&request.client_software_name) && is_software_word(&request.client_software_version);
    if version >= 3 && !named {
        return ApiVersionsResponse::default().with_error_code(Code::InvalidRequest.code());
    }
    with_features(response(errors::NONE), version)
}

/// A version that does not exist here: the oldest body with error 35 and the list, from which the client chooses.
pub(super) fn unknown_version(correlation_id: i32) -> Result<Answer, Close> {
    let served = served(Api::ApiVersions as i16).expect("ApiVersions is in the list of served apis");
    let header = Header { served, version: 0, correlation_id };
    let reply = Reply::encode(&header, &response(Code::UnsupportedVersion.code()))?;
    Ok(async move { Ok(Some(reply)) }.boxed())
}

fn response(error_code: i16) -> ApiVersionsResponse {
    let list = SERVED.iter().map(|served| {
        ApiVersion::default()
            .with_api_key(served.api as i16)
            .with_min_version(served.min)
            .with_max_version(served.max)
    });
    ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(list.collect())
}

/// KIP-584: clients choose the consumer protocol where `group.version` is finalized as 1.
fn with_features(response: ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
    let finalized = FinalizedFeatureKey::default()
        .with_name(GROUP_VERSION.into())
        .with_min_version_level(1)
        .with_max_version_level(1);
    let response = response.with_finalized_features_epoch(0).with_finalized_features(vec![finalized]);
    if version < ZERO_FEATURES_SINCE {
        return response;
    }
    let supported = SupportedFeatureKey::default().with_name(GROUP_VERSION.into()).with_max_version(1);
    response.with_supported_features(vec![supported])
}

/// KIP-511: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_software_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kip_511() {
        for good in ["librdkafka", "2.0.2", "apache-kafka-java", "a", "kafka-python.3"] {
            assert!(is_software_word(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "ä", "a\0b"] {
            assert!(!is_software_word(bad), "{bad}");
        }
    }
}
