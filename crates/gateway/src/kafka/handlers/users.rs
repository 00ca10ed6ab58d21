//! DescribeUserScramCredentials and AlterUserScramCredentials (KIP-554).
//!
//! Owns: which users and changes of a request are taken, Kafka's words for the others.
//! Does not own: credentials (access).
//! Invariants: each user succeeds or fails alone, with all of their changes; salted passwords are dropped with the
//! request, and nothing prints one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::access::{AccessError, Credential, CredentialChange, Mechanism};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
};

use super::super::{Broker, errors};
use super::text;

/// Code and message of what was refused.
type Refusal = (Code, String);

pub(super) async fn describe(
    broker: Arc<Broker>,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let known = broker.access.users();
    let asked: Vec<String> =
        request.users.unwrap_or_default().into_iter().map(|u| u.name.to_string()).collect();
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    asked.iter().for_each(|user| *counted.entry(user).or_default() += 1);
    // None or no names mean all.
    let wanted: Vec<(&str, usize)> = if asked.is_empty() {
        known.keys().map(|user| (user.as_str(), 1)).collect()
    } else {
        counted.into_iter().collect()
    };
    let results = wanted.into_iter().map(|(user, times)| {
        let result =
            DescribeUserScramCredentialsResult::default().with_user(text(user)).with_error_message(None);
        let refused = |code: Code, message: String| {
            let result = result.clone().with_error_code(code.code());
            result.with_error_message(Some(text(message)))
        };
        match known.get(user) {
            _ if times > 1 => refused(
                Code::DuplicateResource,
                format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
                ),
            ),
            None => refused(
                Code::ResourceNotFound,
                format!("Attempt to describe a user credential that does not exist: {user}"),
            ),
            Some(credentials) => {
                let infos = credentials.iter().map(|(mechanism, iterations)| {
                    CredentialInfo::default()
                        .with_mechanism(mechanism.code())
                        .with_iterations(i32::try_from(*iterations).unwrap_or(i32::MAX))
                });
                result.with_credential_infos(infos.collect())
            }
        }
    });
    DescribeUserScramCredentialsResponse::default().with_error_message(None).with_results(results.collect())
}

pub(super) async fn alter(
    broker: Arc<Broker>,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let mut users: BTreeMap<String, Vec<Result<CredentialChange, Refusal>>> = BTreeMap::new();
    for deletion in request.deletions {
        let user = deletion.name.to_string();
        let change = mechanism(deletion.mechanism).map(|mechanism| CredentialChange {
            user: user.clone(),
            mechanism,
            credential: None,
        });
        users.entry(user).or_default().push(change);
    }
    for upsertion in request.upsertions {
        let user = upsertion.name.to_string();
        let change = mechanism(upsertion.mechanism).and_then(|mechanism| {
            let (salt, salted) = (&upsertion.salt, &upsertion.salted_password);
            match Credential::of_salted(mechanism, upsertion.iterations.into(), salt, salted) {
                Ok(made) => Ok(CredentialChange { user: user.clone(), mechanism, credential: Some(made) }),
                Err(error) => Err((Code::UnacceptableCredential, error.to_string())),
            }
        });
        users.entry(user).or_default().push(change);
    }
    let mut results = Vec::with_capacity(users.len());
    for (user, changes) in users {
        let outcome = alter_one(&broker, changes).await;
        let result = AlterUserScramCredentialsResult::default().with_user(text(user));
        results.push(match outcome {
            Ok(()) => result.with_error_message(None),
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        });
    }
    AlterUserScramCredentialsResponse::default().with_results(results)
}

fn mechanism(code: i8) -> Result<Mechanism, Refusal> {
    Mechanism::from_code(code).ok_or_else(|| {
        (
            Code::UnsupportedSaslMechanism,
            format!("Unknown SCRAM mechanism: {code}; 1 is SCRAM-SHA-256, 2 SCRAM-SHA-512"),
        )
    })
}

async fn alter_one(broker: &Broker, changes: Vec<Result<CredentialChange, Refusal>>) -> Result<(), Refusal> {
    let changes: Vec<CredentialChange> = changes.into_iter().collect::<Result<_, _>>()?;
    let twice =
        (1..changes.len()).any(|at| changes[..at].iter().any(|c| c.mechanism == changes[at].mechanism));
    if twice {
        let message = "A user credential cannot be altered twice in the same request";
        return Err((Code::DuplicateResource, message.to_owned()));
    }
    let access = broker.access.clone();
    let altered = super::off_thread(move || access.alter_credentials(changes)).await;
    match altered.map_err(|_| (Code::UnknownServerError, "the request failed".to_owned()))? {
        Ok(()) => Ok(()),
        Err(error @ AccessError::UserName(_)) => Err((Code::UnacceptableCredential, error.to_string())),
        Err(error) => Err((errors::access(&error), base::fault::chain(&error))),
    }
}
