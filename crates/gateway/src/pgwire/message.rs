//! Messages of clients, decoded from complete frames.
//!
//! Owns: the frontend half of the message formats of protocol 3.0. (The pgwire crate decodes them from the shared read
//! buffer and panics on short ones, so that half is read here; its types serve for what we send.)
//! Does not own: framing and limits (`frame`).
//! Invariants: no byte outside the frame is read; counts are checked against the bytes that remain before anything is
//! allocated.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

use super::errors::{End, Failure, Halt};

/// A message of a client.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    Query(String),
    Parse {
        name: String,
        query: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Close(Target),
    Execute {
        portal: String,
        rows_max: usize,
    },
    Flush,
    Sync,
    Terminate,
    /// CopyData, CopyDone, CopyFail: leftovers of a COPY that was refused.
    CopyLeftover,
    FunctionCall,
}

/// What Bind carries.
#[derive(Debug, PartialEq)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) parameter_formats: Vec<i16>,
    pub(super) parameters: Vec<Option<Bytes>>,
    pub(super) result_formats: Vec<i16>,
}

/// A prepared statement or a portal, by name.
#[derive(Debug, PartialEq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

/// The packet that opens a connection.
#[derive(Debug, PartialEq)]
pub(super) enum Opening {
    Tls,
    Gss,
    Cancel { process: i32, secret: i32 },
    Startup { minor: u16, parameters: BTreeMap<String, String> },
}

const CANCEL_CODE: u32 = 80_877_102;
const TLS_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;

/// Reads an opening packet.
pub(super) fn opening(packet: Bytes) -> Result<Opening, End> {
    let mut body = Body(packet);
    let code = body.u32().map_err(|_| violation("a startup packet without version"))?;
    match code {
        TLS_CODE => Ok(Opening::Tls),
        GSS_CODE => Ok(Opening::Gss),
        CANCEL_CODE => match (body.u32(), body.u32()) {
            (Ok(process), Ok(secret)) if body.0.is_empty() => {
                Ok(Opening::Cancel { process: process as i32, secret: secret as i32 })
            }
            _ => Err(violation("a cancel request without a key")),
        },
        version if version >> 16 == 3 => {
            let mut parameters = BTreeMap::new();
            loop {
                let name = body.text().map_err(|_| violation("broken startup parameters"))?;
                if name.is_empty() {
                    return Ok(Opening::Startup { minor: version as u16, parameters });
                }
                let value = body.text().map_err(|_| violation("broken startup parameters"))?;
                parameters.insert(name, value);
            }
        }
        version => Err(End::Refused(Failure::new(
            "0A000",
            format!(
                "unsupported frontend protocol {}.{}: this server speaks 3.0",
                version >> 16,
                version & 0xffff
            ),
        ))),
    }
}

fn violation(reason: &str) -> End {
    End::Violation(reason.into())
}

/// Reads the message of a frame.
pub(super) fn decode(tag: u8, body: Bytes) -> Result<Message, Halt> {
    let mut body = Body(body);
    let message = match tag {
        b'Q' => Message::Query(body.text()?),
        b'P' => {
            let (name, query) = (body.text()?, body.text()?);
            let count = body.count(4)?;
            let types = (0..count).map(|_| body.u32()).collect::<Result<_, _>>()?;
            Message::Parse { name, query, types }
        }
        b'B' => Message::Bind(bind(&mut body)?),
        b'D' => Message::Describe(target(&mut body)?),
        b'C' => Message::Close(target(&mut body)?),
        b'E' => {
            let portal = body.text()?;
            // Zero and, as in PostgreSQL, negative numbers mean all rows.
            let rows_max = usize::try_from(body.u32()? as i32).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
            Message::Execute { portal, rows_max }
        }
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => return Ok(Message::Terminate),
        b'd' | b'c' | b'f' => return Ok(Message::CopyLeftover),
        b'F' => return Ok(Message::FunctionCall),
        other => return Err(violation(&format!("message type `{}`", char::from(other))).into()),
    };
    if !body.0.is_empty() {
        let shown = char::from(tag);
        return Err(violation(&format!("{} bytes too many in message `{shown}`", body.0.len())).into());
    }
    Ok(message)
}

fn bind(body: &mut Body) -> Result<Bind, Halt> {
    let (portal, statement) = (body.text()?, body.text()?);
    let parameter_formats = formats(body)?;
    let count = body.count(4)?;
    let mut parameters = Vec::with_capacity(count);
    for _ in 0..count {
        let length = body.u32()? as i32;
        parameters.push(match usize::try_from(length) {
            Ok(length) => Some(body.bytes(length)?),
            Err(_) if length == -1 => None,
            Err(_) => return Err(violation("a parameter of negative length").into()),
        });
    }
    Ok(Bind { portal, statement, parameter_formats, parameters, result_formats: formats(body)? })
}

fn formats(body: &mut Body) -> Result<Vec<i16>, Halt> {
    let count = body.count(2)?;
    (0..count).map(|_| body.u16().map(|code| code as i16)).collect()
}

fn target(body: &mut Body) -> Result<Target, Halt> {
    let kind = body.bytes(1)?;
    let name = body.text()?;
    match kind.as_ref() {
        b"S" => Ok(Target::Statement(name)),
        b"P" => Ok(Target::Portal(name)),
        _ => Err(violation("a target that is neither statement nor portal").into()),
    }
}

/// What is left of a frame.
struct Body(Bytes);

impl Body {
    fn bytes(&mut self, length: usize) -> Result<Bytes, Halt> {
        if length > self.0.len() {
            return Err(violation(&format!("{length} bytes announced, {} left", self.0.len())).into());
        }
        Ok(self.0.split_to(length))
    }

    fn u16(&mut self) -> Result<u16, Halt> {
        self.bytes(2).map(|mut bytes| bytes.get_u16())
    }

    fn u32(&mut self) -> Result<u32, Halt> {
        self.bytes(4).map(|mut bytes| bytes.get_u32())
    }

    /// A number of things of at least `each` bytes.
    fn count(&mut self, each: usize) -> Result<usize, Halt> {
        let count = usize::from(self.u16()?);
        if count * each > self.0.len() {
            return Err(violation(&format!("{count} items announced, {} bytes left", self.0.len())).into());
        }
        Ok(count)
    }

    /// Text up to a NUL byte.
    fn text(&mut self) -> Result<String, Halt> {
        let end =
            self.0.iter().position(|byte| *byte == 0).ok_or_else(|| violation("text without an end"))?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.into())
            .map_err(|_| Failure::new("22021", "invalid byte sequence for encoding \"UTF8\"").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIND: &[u8] = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02hi\xff\xff\xff\xff\0\x01\0\x01";

    #[test]
    fn messages() {
        assert_eq!(
            decode(b'Q', Bytes::from_static(b"SELECT 1\0")).unwrap(),
            Message::Query("SELECT 1".into())
        );
        assert_eq!(
            decode(b'P', Bytes::from_static(b"\0SELECT $1\0\0\x01\0\0\0\x17")).unwrap(),
            Message::Parse { name: String::new(), query: "SELECT $1".into(), types: vec![23] }
        );
        let Message::Bind(bind) = decode(b'B', Bytes::from_static(BIND)).unwrap() else { panic!() };
        assert_eq!(bind.parameters, [Some(Bytes::from_static(b"hi")), None]);
        assert_eq!((bind.parameter_formats, bind.result_formats), (vec![1], vec![1]));
        let Message::Execute { rows_max, .. } = decode(b'E', Bytes::from_static(b"\0\0\0\0\0")).unwrap()
        else {
            panic!()
        };
        assert_eq!(rows_max, usize::MAX);
    }

    #[test]
    fn every_cut_and_every_wrong_byte_is_survived() {
        for end in 0..BIND.len() {
            assert!(matches!(decode(b'B', Bytes::from_static(&BIND[..end])), Err(Halt::Ended(_))), "{end}");
        }
        for at in 0..BIND.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = BIND.to_vec();
                bytes[at] = value;
                for tag in b'A'..=b'z' {
                    let _ = decode(tag, Bytes::from(bytes.clone()));
                }
                let _ = opening(Bytes::from(bytes));
            }
        }
    }

    #[test]
    fn text_must_be_utf8_but_the_connection_survives() {
        let outcome = decode(b'Q', Bytes::from_static(b"\xff\0"));
        assert!(matches!(outcome, Err(Halt::Failed(Failure { sqlstate: "22021", .. }))), "{outcome:?}");
    }

    #[test]
    fn openings() {
        let startup = opening(Bytes::from_static(b"\0\x03\0\0user\0me\0\0")).unwrap();
        let parameters = BTreeMap::from([("user".to_owned(), "me".to_owned())]);
        assert_eq!(startup, Opening::Startup { minor: 0, parameters });
        let cancel = opening(Bytes::from_static(b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02")).unwrap();
        assert_eq!(cancel, Opening::Cancel { process: 1, secret: 2 });
        assert_eq!(opening(Bytes::from_static(b"\x04\xd2\x16\x2f")).unwrap(), Opening::Tls);
        for bad in
            [b"\0\x02\0\0".as_ref(), b"", b"\0\x03\0\0user", b"\0\x03\0\0user\0", b"\x04\xd2\x16\x2e\0"]
        {
            assert!(opening(Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }
}
