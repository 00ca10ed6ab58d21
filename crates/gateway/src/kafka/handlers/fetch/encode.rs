//! The bytes of a Fetch response, written field by field so that records are passed on and never copied.
//!
//! Owns: the layout of FetchResponse.json, versions 4 to 17.
//! Does not own: what is in it.

use ::topics::Marks;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError as Code;

use super::super::super::errors;
use super::super::super::frame::Header;
use super::super::super::reply::{Builder, Reply, ReplyError};
use super::{PartitionFetch, TOPIC_IDS_SINCE, TopicFetch};

/// Encodes the response; `error` is the one of the whole request.
pub(super) fn reply(
    header: &Header,
    error: Option<Code>,
    topics: &[TopicFetch],
    read_committed: bool,
) -> Result<Reply, ReplyError> {
    let partitions: usize = topics.iter().map(|t| t.partitions.len()).sum();
    let names: usize = topics.iter().map(|t| t.name.len()).sum();
    let mut out = Builder::new(header, 64 + names + 32 * topics.len() + 64 * partitions);
    let layout = Layout {
        version: header.version,
        flexible: header.served.is_flexible(header.version),
        read_committed,
    };
    layout.response(&mut out, error, topics);
    out.finish()
}

#[derive(Clone, Copy)]
struct Layout {
    version: i16,
    flexible: bool,
    read_committed: bool,
}

impl Layout {
    fn response(self, out: &mut Builder, error: Option<Code>, topics: &[TopicFetch]) {
        let fields = out.buffer();
        fields.put_i32(0); // throttle time
        if self.version >= 7 {
            fields.put_i16(error.map_or(errors::NONE, |e| e.code()));
            fields.put_i32(0); // session id: none is kept
        }
        self.length(fields, topics.len(), 4);
        for topic in topics {
            self.topic(out, topic);
        }
        self.no_tags(out.buffer());
    }

    fn topic(self, out: &mut Builder, topic: &TopicFetch) {
        let fields = out.buffer();
        if self.version >= TOPIC_IDS_SINCE {
            fields.put_slice(topic.id.0.as_bytes());
        } else {
            self.length(fields, topic.name.len(), 2);
            fields.put_slice(topic.name.as_bytes());
        }
        self.length(fields, topic.partitions.len(), 4);
        for partition in &topic.partitions {
            self.partition(out, partition);
        }
        self.no_tags(out.buffer());
    }

    fn partition(self, out: &mut Builder, partition: &PartitionFetch) {
        let fields = out.buffer();
        let unknown = Marks { log_start: -1, materialized: -1, stable: -1, durable: -1, appended: -1 };
        let marks = partition.marks.unwrap_or(unknown);
        fields.put_i32(partition.index);
        fields.put_i16(partition.error.map_or(errors::NONE, |e| e.code()));
        fields.put_i64(marks.durable); // high watermark
        fields.put_i64(marks.stable); // last stable offset
        if self.version >= 5 {
            fields.put_i64(marks.log_start);
        }
        // Aborted transactions: not asked for, null.
        match (self.read_committed, self.flexible) {
            (true, _) => {
                self.length(fields, partition.aborted.len(), 4);
                for aborted in &partition.aborted {
                    fields.put_i64(aborted.producer_id);
                    fields.put_i64(aborted.first_offset);
                    self.no_tags(fields);
                }
            }
            (false, true) => fields.put_u8(0),
            (false, false) => fields.put_i32(-1),
        }
        if self.version >= 11 {
            fields.put_i32(-1); // preferred read replica
        }
        let bytes = partition.pieces.iter().map(Bytes::len).sum();
        self.length(fields, bytes, 4);
        for piece in &partition.pieces {
            out.pass_on(piece.clone());
        }
        self.no_tags(out.buffer());
    }

    /// A length: in flexible versions one more than it as a varint, else an integer of `width` bytes.
    fn length(self, fields: &mut BytesMut, length: usize, width: usize) {
        if self.flexible {
            let mut rest = length as u64 + 1;
            while rest >= 0x80 {
                fields.put_u8((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            fields.put_u8(rest as u8);
        } else {
            fields.put_int(length as i64, width);
        }
    }

    fn no_tags(self, fields: &mut BytesMut) {
        if self.flexible {
            fields.put_u8(0);
        }
    }
}
