//! Framing: bytes from the socket to whole messages.
//!
//! Owns: lengths and their limits, the time a message may take, the bytes in flight.
//! Does not own: what a message means (`message`).
//! Invariants: memory grows with the bytes that have arrived, never with a length that was only announced; reading can
//! be interrupted at any await without losing bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::End;

/// A startup packet, length included: 8 to 10,000 bytes, as in PostgreSQL.
const STARTUP_BYTES: std::ops::RangeInclusive<usize> = 8..=10_000;
/// Read at once.
const READ_BYTES: usize = 16 << 10;
/// Bytes that are read ahead while a statement runs.
const READ_AHEAD_BYTES_MAX: usize = 64 << 10;
/// Messages up to this size are not counted against the bytes in flight.
const SMALL_BYTES: usize = 64 << 10;
/// Unit of the count of bytes in flight.
const PERMIT_BYTES: usize = 1 << 10;

/// What limits the reading of messages. Shared by the connections of the door.
#[derive(Debug, Clone)]
pub(super) struct ReadLimits {
    pub(super) message_bytes_max: usize,
    /// A begun message must be complete within this time.
    pub(super) message_timeout: Duration,
    in_flight: Arc<Semaphore>,
    in_flight_permits: u32,
}

impl ReadLimits {
    pub(super) fn new(limits: &crate::admission::Limits) -> Self {
        let permits = (limits.in_flight_bytes_max / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS >> 1);
        let in_flight_permits = u32::try_from(permits).unwrap_or(u32::MAX);
        Self {
            message_bytes_max: limits.request_bytes_max,
            message_timeout: limits.request_timeout,
            in_flight: Arc::new(Semaphore::new(in_flight_permits as usize)),
            in_flight_permits,
        }
    }

    async fn admit(&self, length: usize) -> Result<Option<OwnedSemaphorePermit>, End> {
        if length <= SMALL_BYTES {
            return Ok(None);
        }
        let permits = u32::try_from(length.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let permits = permits.min(self.in_flight_permits);
        let permit = Arc::clone(&self.in_flight).acquire_many_owned(permits).await;
        permit.map(Some).map_err(|_| End::Stopping)
    }
}

/// One message.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) tag: u8,
    pub(super) body: Bytes,
    /// Gives the bytes back when the message has been dealt with.
    _in_flight: Option<OwnedSemaphorePermit>,
}

/// Reads messages from a socket.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    socket: R,
    buffer: BytesMut,
    limits: ReadLimits,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(socket: R, limits: ReadLimits) -> Self {
        Self { socket, buffer: BytesMut::new(), limits }
    }

    /// The next packet before the connection is set up: a length and that many bytes less four.
    pub(super) async fn startup_packet(&mut self) -> Result<Bytes, End> {
        self.fill_to(4).await?;
        let length = announced(&self.buffer[..4]);
        if !STARTUP_BYTES.contains(&length) {
            return Err(End::Violation(format!(
                "a startup packet of {length} bytes{}",
                guess(&self.buffer[..4])
            )));
        }
        self.fill_to(length).await?;
        self.buffer.advance(4);
        Ok(self.buffer.split_to(length - 4).freeze())
    }

    /// The next message. Waits for its first byte as long as it takes.
    pub(super) async fn message(&mut self) -> Result<Frame, End> {
        self.fill_to(1).await?;
        let limit = self.limits.message_timeout;
        match tokio::time::timeout(limit, self.begun_message()).await {
            Ok(frame) => frame,
            Err(_) => Err(End::TooSlow { what: "a message", limit }),
        }
    }

    async fn begun_message(&mut self) -> Result<Frame, End> {
        self.fill_to(5).await?;
        let tag = self.buffer[0];
        let length = announced(&self.buffer[1..5]);
        if !tag.is_ascii_alphabetic() {
            return Err(End::Violation(format!("message type {tag:#04x}")));
        }
        if length < 4 || length > self.limits.message_bytes_max {
            let max = self.limits.message_bytes_max;
            let shown = char::from(tag);
            return Err(End::Violation(format!(
                "a message `{shown}` of {length} bytes: 4 to {max} are taken"
            )));
        }
        let permit = self.limits.admit(length).await?;
        self.fill_to(length + 1).await?;
        self.buffer.advance(5);
        Ok(Frame { tag, body: self.buffer.split_to(length - 4).freeze(), _in_flight: permit })
    }

    /// Resolves when the client hangs up; reads ahead a little meanwhile.
    pub(super) async fn hung_up(&mut self) -> End {
        loop {
            if self.buffer.len() >= READ_AHEAD_BYTES_MAX {
                return std::future::pending().await;
            }
            self.buffer.reserve(READ_BYTES);
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    async fn fill_to(&mut self, bytes: usize) -> Result<(), End> {
        while self.buffer.len() < bytes {
            self.buffer.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(End::Closed);
            }
        }
        Ok(())
    }
}

fn announced(length: &[u8]) -> usize {
    let bytes: [u8; 4] = length.try_into().expect("four bytes were sliced");
    u32::from_be_bytes(bytes) as usize
}

/// Names the protocol that a stranger speaks, for the log.
fn guess(first: &[u8]) -> &'static str {
    match first {
        [0x16, 0x03, ..] => " (it looks like TLS, which this door does not speak)",
        b"GET " | b"POST" | b"PUT " | b"HEAD" => " (it looks like HTTP)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn limits() -> ReadLimits {
        ReadLimits::new(&crate::admission::Limits {
            request_bytes_max: 1000,
            request_timeout: Duration::from_millis(50),
            ..Default::default()
        })
    }

    async fn startup(bytes: &[u8]) -> Result<Bytes, End> {
        FrameReader::new(bytes, limits()).startup_packet().await
    }

    async fn message(bytes: &[u8]) -> Result<Frame, End> {
        FrameReader::new(bytes, limits()).message().await
    }

    #[tokio::test]
    async fn startup_lengths() {
        assert_eq!(startup(&[0, 0, 0, 8, 1, 2, 3, 4]).await.unwrap().as_ref(), &[1, 2, 3, 4]);
        for bad in [[0, 0, 0, 7], [0, 0, 0x27, 0x11], [0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0; 4]] {
            assert!(matches!(startup(&bad).await, Err(End::Violation(_))), "{bad:?}");
        }
        let tls = startup(&[0x16, 0x03, 0x01, 0x02]).await.unwrap_err().to_string();
        assert!(tls.contains("TLS"), "{tls}");
        assert!(matches!(startup(&[0, 0, 0]).await, Err(End::Closed)));
    }

    #[tokio::test]
    async fn message_lengths() {
        let frame = message(b"Q\0\0\0\x06a\0").await.unwrap();
        assert_eq!((frame.tag, frame.body.as_ref()), (b'Q', b"a\0".as_ref()));
        for bad in [
            b"Q\0\0\0\x03".as_ref(),
            b"Q\x7f\xff\xff\xff",
            b"Q\xff\xff\xff\xff",
            b"Q\0\0\x03\xe9",
            b"\0\0\0\0\x04",
        ] {
            assert!(matches!(message(bad).await, Err(End::Violation(_))), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_message_that_stops_halfway_is_too_slow() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"Q\0\0\0\x10abc").await.unwrap();
        let outcome = FrameReader::new(server, limits()).message().await;
        assert!(matches!(outcome, Err(End::TooSlow { .. })), "{outcome:?}");
    }
}
