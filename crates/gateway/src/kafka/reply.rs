//! Replies: what goes back on the wire for one request.
//!
//! Owns: the length prefix and response header, pieces that are written without joining them.
//! Does not own: the content of a response (`handlers`), sockets.
//! Invariants: the length prefix counts exactly the bytes behind it.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;

use super::frame::Header;
use super::versions::Api;
use crate::admission::ResponsePermit;

/// A response that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    #[error("cannot encode the response to {api:?} version {version}: {reason}")]
    Encode { api: Api, version: i16, reason: String },
    #[error("a response of {0} bytes does not fit a frame")]
    TooLarge(usize),
}

/// The pieces of a reply in wire order; reading it is writing it.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pieces: VecDeque<Bytes>,
    /// Its share in the bytes of all responses, when it was worth counting.
    permit: Option<ResponsePermit>,
}

impl Reply {
    /// A reply that consists of one encoded body.
    pub(super) fn encode(header: &Header, body: &impl Encodable) -> Result<Self, ReplyError> {
        let (api, version) = (header.served.api, header.version);
        let fail = |e: &dyn std::fmt::Display| ReplyError::Encode { api, version, reason: e.to_string() };
        let size = body.compute_size(version).map_err(|e| fail(&e))?;
        let mut builder = Builder::new(header, size);
        body.encode(builder.buffer(), version).map_err(|e| fail(&e))?;
        builder.finish()
    }

    /// A token without a response around it (SaslHandshake version 0).
    pub(super) fn bare(token: Bytes) -> Result<Self, ReplyError> {
        let length = i32::try_from(token.len()).map_err(|_| ReplyError::TooLarge(token.len()))?;
        let prefix = Bytes::copy_from_slice(&length.to_be_bytes());
        Ok(Self { pieces: [prefix, token].into(), permit: None })
    }

    /// Keeps `permit` until the reply is written or dropped.
    pub(super) fn holding(mut self, permit: ResponsePermit) -> Self {
        self.permit = Some(permit);
        self
    }
}

impl Buf for Reply {
    fn remaining(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, piece) in into.iter_mut().zip(&self.pieces) {
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.pieces.front_mut() {
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
    }
}

/// Builds a reply from encoded fields and from bytes that are passed on without a copy.
#[derive(Debug)]
pub(super) struct Builder {
    done: VecDeque<Bytes>,
    open: BytesMut,
}

impl Builder {
    /// A reply to the request with `header`, with room for `size` encoded bytes.
    pub(super) fn new(header: &Header, size: usize) -> Self {
        // ApiVersions keeps the oldest response header in all versions: the client does not know ours yet.
        let tagged = header.served.is_flexible(header.version) && header.served.api != Api::ApiVersions;
        let mut open = BytesMut::with_capacity(9 + size);
        open.put_i32(0);
        open.put_i32(header.correlation_id);
        if tagged {
            open.put_u8(0);
        }
        Self { done: VecDeque::new(), open }
    }

    /// Where the next fields are encoded to.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    /// Appends `bytes` as they are.
    pub(super) fn pass_on(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.done.push_back(self.open.split().freeze());
        self.done.push_back(bytes);
    }

    /// Sets the length.
    pub(super) fn finish(mut self) -> Result<Reply, ReplyError> {
        if !self.open.is_empty() {
            self.done.push_back(self.open.freeze());
        }
        let length = self.done.iter().map(Bytes::len).sum::<usize>() - 4;
        let prefix = i32::try_from(length).map_err(|_| ReplyError::TooLarge(length))?;
        if let Some(first) = self.done.pop_front() {
            // The first piece was built here and nobody else holds it, so this does not copy.
            let mut first = BytesMut::from(first);
            first[..4].copy_from_slice(&prefix.to_be_bytes());
            self.done.push_front(first.freeze());
        }
        Ok(Reply { pieces: self.done, permit: None })
    }
}
