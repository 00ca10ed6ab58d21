//! Templates of records: rpk's letters.

use std::io::{self, Write};

use serde_json::{Value, json};
use topics::cluster::ConsumedRecord;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(Vec<u8>),
    Letter(u8),
}

/// How a record is printed.
#[derive(Debug)]
pub(super) enum RecordTemplate {
    Json,
    Parts(Vec<Part>),
}

/// How a line becomes key and value.
#[derive(Debug)]
pub(super) struct LineTemplate {
    parts: Vec<Part>,
}

fn parse(template: &str, letters: &[u8]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = Vec::new();
    let mut bytes = template.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => text.push(match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                _ => return Err(format!("`{template}`: after \\ comes n, t, r, 0 or \\")),
            }),
            b'%' => match bytes.next() {
                Some(b'%') => text.push(b'%'),
                Some(letter) if letters.contains(&letter) => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Letter(letter));
                }
                _ => {
                    let known: Vec<String> = letters.iter().map(|l| format!("%{}", *l as char)).collect();
                    return Err(format!("`{template}`: known are {} and %%", known.join(" ")));
                }
            },
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

impl RecordTemplate {
    pub(super) fn parse(template: &str) -> Result<Self, String> {
        match template {
            "json" => Ok(Self::Json),
            template => parse(template, b"kvtpodh").map(Self::Parts),
        }
    }

    pub(super) fn write(&self, out: &mut impl Write, topic: &str, record: &ConsumedRecord) -> io::Result<()> {
        let parts = match self {
            Self::Json => return writeln!(out, "{}", as_json(topic, record)),
            Self::Parts(parts) => parts,
        };
        for part in parts {
            match part {
                Part::Text(text) => out.write_all(text)?,
                Part::Letter(b'k') => out.write_all(record.key.as_deref().unwrap_or_default())?,
                Part::Letter(b'v') => out.write_all(record.value.as_deref().unwrap_or_default())?,
                Part::Letter(b't') => out.write_all(topic.as_bytes())?,
                Part::Letter(b'p') => write!(out, "{}", record.partition)?,
                Part::Letter(b'o') => write!(out, "{}", record.offset)?,
                Part::Letter(b'd') => write!(out, "{}", record.timestamp_ms.unwrap_or(-1))?,
                Part::Letter(_) => {
                    for (n, (name, value)) in record.headers.iter().enumerate() {
                        let comma = if n > 0 { "," } else { "" };
                        write!(out, "{comma}{name}=")?;
                        out.write_all(value.as_deref().unwrap_or_default())?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Text as a string; bytes that are no text in hexadecimal under `<name>_hex`, so that nothing is lost.
fn as_json(topic: &str, record: &ConsumedRecord) -> Value {
    let mut object = serde_json::Map::new();
    let mut put = |name: &str, bytes: Option<&[u8]>| {
        match bytes.map(|b| std::str::from_utf8(b).map_err(|_| b)) {
            None => object.insert(name.to_owned(), Value::Null),
            Some(Ok(text)) => object.insert(name.to_owned(), text.into()),
            Some(Err(raw)) => object.insert(format!("{name}_hex"), hex(raw).into()),
        };
    };
    put("key", record.key.as_deref());
    put("value", record.value.as_deref());
    let mut all = serde_json::Map::new();
    all.insert("topic".into(), topic.into());
    all.append(&mut object);
    if !record.headers.is_empty() {
        let headers: Vec<Value> = record
            .headers
            .iter()
            .map(|(name, value)| json!({"key": name, "value": value.as_deref().map(String::from_utf8_lossy)}))
            .collect();
        all.insert("headers".into(), headers.into());
    }
    all.insert("timestamp".into(), record.timestamp_ms.into());
    all.insert("partition".into(), record.partition.into());
    all.insert("offset".into(), record.offset.into());
    Value::Object(all)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl LineTemplate {
    pub(super) fn parse(template: &str) -> Result<Self, String> {
        let mut parts = parse(template, b"kv")?;
        // Records are lines: the line's end is there already.
        match parts.last_mut() {
            Some(Part::Text(text)) if text.last() == Some(&b'\n') => {
                text.pop();
                if text.is_empty() {
                    parts.pop();
                }
            }
            _ => {}
        }
        let letters = parts.iter().filter(|p| matches!(p, Part::Letter(_)));
        let values = letters.clone().filter(|p| **p == Part::Letter(b'v')).count();
        let keys = letters.count() - values;
        let touching = parts.windows(2).any(|w| matches!(w, [Part::Letter(_), Part::Letter(_)]));
        let newline = parts.iter().any(|p| matches!(p, Part::Text(t) if t.contains(&b'\n')));
        if values > 1 || keys > 1 || values + keys == 0 || touching || newline {
            return Err(format!("`{template}`: write %v, or %k and %v with text between them, then \\n"));
        }
        Ok(Self { parts })
    }

    /// Key (when the template has one) and value of a line; none when it does not fit.
    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Option<(Option<&'a [u8]>, &'a [u8])> {
        let (mut key, mut value) = (None, &line[..0]);
        let mut rest = line;
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(&text[..])?,
                Part::Letter(letter) => {
                    let end = match parts.peek() {
                        Some(Part::Text(text)) => rest.windows(text.len()).position(|w| w == &text[..])?,
                        _ => rest.len(),
                    };
                    let (field, after) = rest.split_at(end);
                    if *letter == b'k' {
                        key = Some(field);
                    } else {
                        value = field;
                    }
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ConsumedRecord {
        ConsumedRecord {
            partition: 2,
            offset: 17,
            timestamp_ms: Some(1_700_000_000_000),
            key: Some(b"AAPL".as_slice().into()),
            value: Some([0xff, 0x00].as_slice().into()),
            headers: vec![("a".into(), Some(b"1".as_slice().into()))],
        }
    }

    #[test]
    fn records_are_printed() {
        let print = |template: &str| {
            let mut out = Vec::new();
            let template = RecordTemplate::parse(template).expect("template");
            template.write(&mut out, "t", &record()).expect("write");
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(print(r"%t/%p@%o %k [%h] %d%%\n"), "t/2@17 AAPL [a=1] 1700000000000%\n");
        assert_eq!(
            print("json"),
            "{\"topic\":\"t\",\"key\":\"AAPL\",\"value_hex\":\"ff00\",\"headers\":[{\"key\":\"a\",\"value\":\"1\"}],\
             \"timestamp\":1700000000000,\"partition\":2,\"offset\":17}\n"
        );
        for bad in ["%x", "%", r"\q"] {
            assert!(RecordTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_are_read() {
        let read = |template: &str, line: &str| {
            let template = LineTemplate::parse(template).expect("template");
            template.read(line.as_bytes()).map(|(key, value)| {
                let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                (key.map(text), text(value))
            })
        };
        assert_eq!(read(r"%v\n", "a b"), Some((None, "a b".into())));
        assert_eq!(read(r"%k %v\n", "a b c"), Some((Some("a".into()), "b c".into())));
        assert_eq!(read(r"%k\t%v", "a\tb"), Some((Some("a".into()), "b".into())));
        assert_eq!(read(r"<%v>|%k\n", "<x>|y"), Some((Some("y".into()), "x".into())));
        assert_eq!(read(r"%k %v\n", "alone"), None);
        for bad in ["%k%v", "", "%v %v", "text", r"%k\n%v"] {
            assert!(LineTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
