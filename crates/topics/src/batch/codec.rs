//! The codecs of record batches.
//!
//! Owns: decompression that stops at a limit, compression for batches we build.
//! Does not own: records.
//! Invariants: output never exceeds the limit by more than one read; a size claimed by the input is compared with
//! what the input could hold before it is believed.

use std::io::{Read, Write};

use bytes::Bytes;

use super::BatchError;

/// How the records of a batch are compressed (attributes, bits 0 to 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Header of snappy as Kafka's Java client frames it (xerial): magic, version 1, compatible with 1.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// A snappy copy of 64 bytes takes 3: no block grows by more than that.
const SNAPPY_RATIO_MAX: usize = 22;

impl Compression {
    pub(crate) fn of_attributes(attributes: i16) -> Result<Self, BatchError> {
        match attributes & 7 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(BatchError::UnknownCodec(other as u8)),
        }
    }

    pub(crate) fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn decompress(self, bytes: Bytes, limit: usize) -> Result<Bytes, BatchError> {
        let plain = match self {
            Self::None if bytes.len() > limit => return Err(BatchError::TooLarge(limit)),
            Self::None => return Ok(bytes),
            Self::Gzip => read_bounded(flate2::bufread::MultiGzDecoder::new(&*bytes), self, limit)?,
            Self::Snappy => snappy(&bytes, limit)?,
            Self::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(&*bytes), self, limit)?,
            Self::Zstd => {
                let decoder =
                    zstd::stream::read::Decoder::with_buffer(&*bytes).map_err(|e| broken(self, &e))?;
                read_bounded(decoder, self, limit)?
            }
        };
        Ok(plain.into())
    }

    pub(crate) fn compress(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes.to_vec()),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Snappy => snap::raw::Encoder::new().compress_vec(bytes).map_err(std::io::Error::other),
            Self::Lz4 => {
                // Blocks are independent by default, as Kafka's Java reader demands.
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes)?;
                encoder.finish().map_err(std::io::Error::other)
            }
            Self::Zstd => zstd::bulk::compress(bytes, 1),
        }
    }
}

fn broken(codec: Compression, error: &dyn std::fmt::Display) -> BatchError {
    BatchError::corrupt(format!("{} records do not decompress: {error}", codec.name()))
}

fn read_bounded(reader: impl Read, codec: Compression, limit: usize) -> Result<Vec<u8>, BatchError> {
    let mut plain = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut plain).map_err(|e| broken(codec, &e))?;
    if plain.len() > limit {
        return Err(BatchError::TooLarge(limit));
    }
    Ok(plain)
}

fn snappy(bytes: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    let mut plain = Vec::new();
    if !bytes.starts_with(&XERIAL_MAGIC) {
        snappy_block(bytes, &mut plain, limit)?;
        return Ok(plain);
    }
    let mut rest = bytes.get(XERIAL_HEADER_BYTES..).unwrap_or_default();
    while !rest.is_empty() {
        let cut = || BatchError::corrupt("a snappy block is cut short");
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| cut())?;
        if length > after.len() {
            return Err(cut());
        }
        let (block, after) = after.split_at(length);
        snappy_block(block, &mut plain, limit)?;
        rest = after;
    }
    Ok(plain)
}

fn snappy_block(block: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
    let size = snap::raw::decompress_len(block).map_err(|e| broken(Compression::Snappy, &e))?;
    let start = plain.len();
    if size > limit - start.min(limit) {
        return Err(BatchError::TooLarge(limit));
    }
    if size > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(BatchError::corrupt("a snappy block claims more bytes than it can hold"));
    }
    plain.resize(start + size, 0);
    let wrote = snap::raw::Decoder::new()
        .decompress(block, &mut plain[start..])
        .map_err(|e| broken(Compression::Snappy, &e))?;
    plain.truncate(start + wrote);
    Ok(())
}
