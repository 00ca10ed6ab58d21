//! Limits on connections and bytes in flight, shared by the doors.

use std::time::Duration;

/// Limits of one door.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub connections_max: usize,
    /// Largest request, bytes.
    pub request_bytes_max: usize,
    /// Bytes of requests being worked on, all connections together: beyond it the door stops reading.
    pub in_flight_bytes_max: usize,
    /// A connection must send its first byte within this time.
    pub first_byte_timeout: Duration,
    /// A begun request must be complete within this time.
    pub request_timeout: Duration,
    /// A quiet connection is closed after this time.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            request_bytes_max: 100 << 20,
            in_flight_bytes_max: 256 << 20,
            first_byte_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
        }
    }
}
