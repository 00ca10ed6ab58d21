//! Frames: a length of four bytes, then a request header, then the request.
//!
//! Owns: the length check, the request header, recognising other protocols on this port.
//! Does not own: sockets, the body.
//! Invariants: nothing is allocated before a length is checked; never panics on any bytes.

use bytes::{Buf, Bytes};

use super::shape::{self, ShapeError};
use super::versions::{self, Api, Served};

/// The fields that every request starts with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) served: &'static Served,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
}

/// A frame after its header was read.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A request that is served; the body has been checked against its shape.
    Request { header: Header, client_id: Bytes, body: Bytes },
    /// ApiVersions in a version that does not exist here: it is answered, so that the client can choose another.
    UnknownApiVersions { correlation_id: i32 },
}

/// Why a frame is refused. The connection is closed: there is no telling where the next frame would begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a request of {length} bytes, {min} to {max} are taken{}", show_hint(*.hint))]
    Length { length: i32, min: usize, max: usize, hint: Option<&'static str> },
    #[error("a request that ends within its header")]
    ShortHeader,
    #[error("api key {0}, which is not served here")]
    UnknownApi(i16),
    #[error("{api:?} version {version}, served are {min} to {max}")]
    UnsupportedVersion { api: Api, version: i16, min: i16, max: i16 },
    #[error("a bad request header: {0}")]
    Header(ShapeError),
    #[error("a bad {api:?} request of version {version}: {error}")]
    Body { api: Api, version: i16, error: ShapeError },
}

fn show_hint(hint: Option<&'static str>) -> String {
    hint.map(|h| format!(" ({h})")).unwrap_or_default()
}

/// Api key, version, correlation id and the length of the client id: no request is shorter.
const HEADER_BYTES_MIN: usize = 10;

/// Reads the length of a frame.
pub(super) fn length(prefix: [u8; 4], max: usize) -> Result<usize, FrameError> {
    length_from(HEADER_BYTES_MIN, prefix, max)
}

/// Reads the length of a token that has no request around it.
pub(super) fn token_length(prefix: [u8; 4], max: usize) -> Result<usize, FrameError> {
    length_from(0, prefix, max)
}

fn length_from(min: usize, prefix: [u8; 4], max: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        _ => Err(FrameError::Length { length, min, max, hint: other_protocol(prefix) }),
    }
}

/// Other protocols that people point at this port by mistake.
fn other_protocol(prefix: [u8; 4]) -> Option<&'static str> {
    match &prefix {
        [0x16, 0x03, _, _] => Some(
            "this is a TLS ClientHello, but the port speaks plain Kafka: set security.protocol=PLAINTEXT",
        ),
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"PRI " => {
            Some("this is HTTP, but the port speaks Kafka: the HTTP doors have ports of their own")
        }
        // SSLRequest and GSSENCRequest.
        [0, 0, 0, 8] => Some("this may be a Postgres client asking for TLS, but the port speaks Kafka"),
        _ => None,
    }
}

/// Reads the header of `frame` (without its length) and checks the body's shape.
pub(super) fn parse(mut frame: Bytes) -> Result<Parsed, FrameError> {
    if frame.len() < HEADER_BYTES_MIN {
        return Err(FrameError::ShortHeader);
    }
    let (key, version, correlation_id) = (frame.get_i16(), frame.get_i16(), frame.get_i32());
    let served = versions::served(key).ok_or(FrameError::UnknownApi(key))?;
    if !(served.usable_min..=served.max).contains(&version) {
        return if served.api == Api::ApiVersions {
            Ok(Parsed::UnknownApiVersions { correlation_id })
        } else {
            let (api, min, max) = (served.api, served.usable_min, served.max);
            Err(FrameError::UnsupportedVersion { api, version, min, max })
        };
    }
    let flexible = served.is_flexible(version);
    let client_id = take_client_id(&mut frame)?;
    if flexible {
        let tags = shape::tagged_fields_len(&frame).map_err(FrameError::Header)?;
        frame.advance(tags);
    }
    shape::check(served.shape, version, flexible, &frame).map_err(|error| FrameError::Body {
        api: served.api,
        version,
        error,
    })?;
    Ok(Parsed::Request { header: Header { served, version, correlation_id }, client_id, body: frame })
}

/// The client id has a length of two bytes in every version, -1 for null.
fn take_client_id(frame: &mut Bytes) -> Result<Bytes, FrameError> {
    if frame.len() < 2 {
        return Err(FrameError::ShortHeader);
    }
    let length = frame.get_i16();
    if length == -1 {
        return Ok(Bytes::new());
    }
    let (at, remain) = (10, frame.len());
    match usize::try_from(length) {
        Ok(n) if n <= remain => Ok(frame.split_to(n)),
        _ => Err(FrameError::Header(ShapeError::Length { length: length.into(), at, remain })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Bytes {
        let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect::<Vec<u8>>()
            .into()
    }

    #[test]
    fn lengths_are_checked_and_other_protocols_named() {
        assert_eq!(length([0, 0, 1, 0], 1000), Ok(256));
        for bad in [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0, 0, 4, 0], [0; 4], [0, 0, 0, 9]]
        {
            assert!(length(bad, 1000).is_err(), "{bad:?}");
        }
        let tls = length([0x16, 0x03, 0x01, 0x02], 100 << 20).unwrap_err().to_string();
        assert!(tls.contains("TLS ClientHello"), "{tls}");
        let http = length(*b"GET ", 100 << 20).unwrap_err().to_string();
        assert!(http.contains("HTTP"), "{http}");
        let postgres = length([0, 0, 0, 8], 1000).unwrap_err().to_string();
        assert!(postgres.contains("Postgres"), "{postgres}");
    }

    #[test]
    fn headers_that_end_early_are_refused() {
        let whole = hex("0012 0000 00000001 0002 6162");
        assert!(matches!(parse(whole.clone()), Ok(Parsed::Request { .. })));
        for end in 0..whole.len() {
            assert!(parse(whole.slice(..end)).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn four_bytes_of_metadata_are_refused_before_anything_is_allocated() {
        let error = parse(hex("0003 0001 00000001 ffff 7fffffff")).unwrap_err();
        assert!(matches!(error, FrameError::Body { error: ShapeError::Length { .. }, .. }), "{error}");
        let error = parse(hex("0000 0003 00000001 ffff ffff ffff 00000000 7fffffff")).unwrap_err();
        assert!(matches!(error, FrameError::Body { error: ShapeError::Length { .. }, .. }), "{error}");
    }

    #[test]
    fn versions_outside_the_list_are_refused_but_api_versions_is_answered() {
        let old = parse(hex("0000 0002 00000001 ffff")).unwrap_err();
        assert!(matches!(old, FrameError::UnsupportedVersion { api: Api::Produce, min: 3, .. }), "{old}");
        assert!(matches!(parse(hex("7fff 0000 00000001 ffff")), Err(FrameError::UnknownApi(_))));
        let newer = parse(hex("0012 0063 00000007 ffff ff")).unwrap();
        assert!(matches!(newer, Parsed::UnknownApiVersions { correlation_id: 7 }));
    }
}
