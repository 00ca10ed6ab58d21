//! The first word with a cluster: whether it lets us in.
//!
//! Owns: telling "nobody is there" from "not with these credentials".
//! Does not own: any request's own errors.
//! Invariants: ends within the time it was given. librdkafka itself tries again until a request's time is over, and
//! then says only that it timed out.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use super::{ClusterClient, ClusterError, blocking};

/// One attempt; between two of them complaints are looked at.
const ATTEMPT: Duration = Duration::from_millis(250);

/// What librdkafka complains about beside the answers to calls.
#[derive(Debug, Default)]
struct Complaints {
    refused: Mutex<Option<String>>,
    last: Mutex<Option<String>>,
}

impl ClientContext for Complaints {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::Authentication) {
            *self.refused.lock() = Some(reason.to_owned());
        }
        if !matches!(error.rdkafka_error_code(), Some(Code::AllBrokersDown)) {
            *self.last.lock() = Some(reason.to_owned());
        }
    }

    // Everything it logs comes as an error too.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ProducerContext for Complaints {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl ClusterClient {
    /// Waits at most `limit` for the cluster to answer: [`ClusterError::NotLetIn`] when it does not take the login, or
    /// wants one.
    pub async fn greet(&self, limit: Duration) -> Result<(), ClusterError> {
        let client = self.clone();
        blocking(move || client.greet_blocking(limit)).await
    }

    fn greet_blocking(&self, limit: Duration) -> Result<(), ClusterError> {
        let producer: BaseProducer<Complaints> =
            self.config().create_with_context(Complaints::default()).map_err(|e| self.failed(e))?;
        let begun = Instant::now();
        loop {
            let outcome = producer.client().fetch_metadata(None, ATTEMPT);
            let Err(error) = outcome else { return Ok(()) };
            producer.poll(Duration::ZERO);
            let complaints = producer.context();
            if let Some(reason) = complaints.refused.lock().take() {
                return Err(self.not_let_in(reason));
            }
            if begun.elapsed() < limit {
                continue;
            }
            return Err(match complaints.last.lock().take() {
                // A broker that wants a login closes the connection of a client without one.
                Some(reason) if self.settings().login.is_none() && reason.contains("Disconnected") => {
                    self.not_let_in(reason)
                }
                Some(reason) => ClusterError::Unreachable { bootstrap: self.bootstrap().to_owned(), reason },
                None => self.failed(error),
            });
        }
    }

    fn not_let_in(&self, reason: String) -> ClusterError {
        let user = self.settings().login.as_ref().map(|login| login.user.clone());
        ClusterError::NotLetIn { bootstrap: self.bootstrap().to_owned(), user, reason }
    }
}
