//! Limits on connections and bytes in flight, shared by the doors.
//!
//! Owns: the limits of a door, the count of its connections, the count of request bytes it holds, the count of
//! response bytes that all doors hold.
//! Does not own: timeouts (each door applies them where it waits) and what a request is.
//! Invariants: a permit that is dropped gives back exactly what it took; nobody waits for more than one request may
//! ever hold, so a single request cannot wait for itself; a response that waits for its share holds nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits of one door.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub connections_max: usize,
    /// Largest request, bytes. A connection holds no more than this of unanswered requests either.
    pub request_bytes_max: usize,
    /// Bytes of requests being worked on, all connections together: beyond it the door stops reading.
    pub in_flight_bytes_max: usize,
    /// Bytes of responses that are read and not yet written, all doors together: beyond it responses wait.
    pub response_bytes_max: usize,
    /// A connection must send its first byte within this time.
    pub first_byte_timeout: Duration,
    /// A begun request must be complete within this time; a begun answer must make progress within it.
    pub request_timeout: Duration,
    /// A quiet connection is closed after this time.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            request_bytes_max: 100 << 20,
            in_flight_bytes_max: 256 << 20,
            response_bytes_max: 128 << 20,
            first_byte_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
        }
    }
}

/// The gate of one door. Clones share it.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: Arc<Limits>,
    connections: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// One admitted connection; dropping it makes room for another.
#[derive(Debug)]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
}

/// The share of one connection in the bytes in flight.
#[derive(Debug)]
pub struct ByteBudget {
    size: usize,
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// Bytes of a request that are being held; dropping it gives them back.
#[derive(Debug)]
pub struct BytePermit {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
}

impl Admission {
    /// A gate with `limits`.
    pub fn new(limits: Limits) -> Self {
        // Every byte limit leaves room for the largest request, or that request could never be read.
        let bytes = limits.in_flight_bytes_max.max(limits.request_bytes_max);
        Self {
            connections: semaphore(limits.connections_max),
            bytes: semaphore(bytes),
            limits: Arc::new(limits),
        }
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets one more connection in, or none when the door is full.
    pub fn try_connect(&self) -> Option<ConnectionPermit> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        Some(ConnectionPermit { _permit: permit })
    }

    /// The byte budget of a new connection.
    pub fn byte_budget(&self) -> ByteBudget {
        let own = semaphore(self.limits.request_bytes_max);
        ByteBudget { size: own.available_permits(), own, all: Arc::clone(&self.bytes) }
    }
}

impl ByteBudget {
    /// Whether none of the connection's requests is being worked on.
    pub fn is_idle(&self) -> bool {
        self.own.available_permits() == self.size
    }

    /// Waits until `bytes` more may be held. Ask for a large request step by step, as its bytes arrive, so that a
    /// request that is announced and never sent holds next to nothing.
    pub async fn take(&self, bytes: usize) -> BytePermit {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let own = Arc::clone(&self.own).acquire_many_owned(bytes).await;
        let all = Arc::clone(&self.all).acquire_many_owned(bytes).await;
        BytePermit {
            own: own.expect("this semaphore is never closed"),
            all: all.expect("this semaphore is never closed"),
        }
    }
}

impl BytePermit {
    /// Holds what `other` holds too.
    pub fn merge(&mut self, other: Self) {
        self.own.merge(other.own);
        self.all.merge(other.all);
    }
}

/// Response bytes that are read and not yet written, all connections together. Clones share it.
///
/// The less is left, the smaller the share of the next response: readers that are slow to take theirs make everybody's
/// responses smaller before they make anybody wait.
#[derive(Debug, Clone)]
pub struct ResponseBudget {
    all: Arc<Semaphore>,
    max: usize,
}

/// The share of one response; dropping it gives it back.
#[derive(Debug)]
pub struct ResponsePermit {
    permit: OwnedSemaphorePermit,
    all: Arc<Semaphore>,
    max: usize,
}

/// A response gets at least so much, bytes, or waits.
const SHARE_MIN: usize = 64 << 10;
/// A response gets at most one in so many of the bytes that are left.
const SHARES: usize = 4;

impl ResponseBudget {
    /// A budget of `bytes`, at least one least share.
    pub fn new(bytes: usize) -> Self {
        let all = semaphore(bytes.max(SHARE_MIN));
        Self { max: all.available_permits(), all }
    }

    /// Bytes that no response holds.
    pub fn left(&self) -> usize {
        self.all.available_permits()
    }

    /// Waits for a share of up to `wanted` bytes.
    pub async fn take(&self, wanted: usize) -> ResponsePermit {
        self.take_all(wanted.min(share(&self.all))).await
    }

    /// Waits for exactly `bytes`, for one record batch that is larger than any share, or for the whole budget.
    pub async fn take_all(&self, bytes: usize) -> ResponsePermit {
        let bytes = u32::try_from(bytes.min(self.max)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.all).acquire_many_owned(bytes).await;
        ResponsePermit {
            permit: permit.expect("this semaphore is never closed"),
            all: Arc::clone(&self.all),
            max: self.max,
        }
    }
}

fn share(all: &Semaphore) -> usize {
    (all.available_permits() / SHARES).max(SHARE_MIN)
}

impl ResponsePermit {
    /// What it holds.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits()
    }

    /// Whether there is nothing more to have.
    pub fn is_whole(&self) -> bool {
        self.bytes() == self.max
    }

    /// Gives back what is beyond `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let beyond = self.bytes().saturating_sub(bytes);
        drop(self.permit.split(beyond));
    }

    /// Takes more, up to `bytes` in all, if that is there now; whether it holds `bytes`.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let more = u32::try_from(bytes.saturating_sub(self.bytes())).unwrap_or(u32::MAX);
        if more > 0 {
            match Arc::clone(&self.all).try_acquire_many_owned(more) {
                Ok(permit) => self.permit.merge(permit),
                Err(_) => return false,
            }
        }
        true
    }

    /// Like [`ResponsePermit::try_grow`], by no more than a share.
    pub fn try_grow_by_a_share(&mut self, bytes: usize) -> bool {
        let bytes = bytes.min(self.bytes().saturating_add(share(&self.all)));
        self.try_grow(bytes)
    }
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn connections_are_counted() {
        let gate = Admission::new(Limits { connections_max: 2, ..Limits::default() });
        let first = gate.try_connect();
        let second = gate.try_connect();
        assert!(first.is_some() && second.is_some());
        assert!(gate.try_connect().is_none());
        drop(first);
        assert!(gate.try_connect().is_some());
    }

    #[tokio::test]
    async fn shares_get_smaller_before_they_wait() {
        let budget = ResponseBudget::new(1 << 20);
        let mut held = Vec::new();
        while budget.left() >= SHARE_MIN {
            held.push(budget.take(16 << 20).await);
        }
        let sizes: Vec<usize> = held.iter().map(ResponsePermit::bytes).collect();
        assert_eq!(sizes[0], 256 << 10);
        // A quarter of what is left each time: five shares get smaller, three are as small as any.
        assert!(sizes.len() == 8 && sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        assert!(sizes.iter().all(|size| *size >= SHARE_MIN));
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, budget.take(1 << 20)).await.is_err());
        let mut last = held.pop().unwrap();
        assert!(!last.try_grow(2 << 20) && last.bytes() >= SHARE_MIN);
        held[0].shrink(100);
        assert!(last.try_grow_by_a_share(2 << 20));
        drop((held, last));
        assert_eq!(budget.left(), 1 << 20, "everything came back");
        assert_eq!(budget.take_all(700 << 10).await.bytes(), 700 << 10);
    }

    #[tokio::test]
    async fn bytes_wait_for_room_and_come_back() {
        let gate =
            Admission::new(Limits { request_bytes_max: 100, in_flight_bytes_max: 150, ..Limits::default() });
        let (one, two) = (gate.byte_budget(), gate.byte_budget());
        let mut held = one.take(60).await;
        held.merge(one.take(40).await);
        let soon = Duration::from_millis(20);
        // The first connection is at its own limit, the second at the door's.
        assert!(tokio::time::timeout(soon, one.take(1)).await.is_err());
        assert!(tokio::time::timeout(soon, two.take(51)).await.is_err());
        drop(held);
        let _all = one.take(100).await;
        let _rest = two.take(50).await;
    }
}
