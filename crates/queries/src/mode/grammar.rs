//! The grammar of `redpanda.iceberg.mode`.
//!
//! Owns: reading and writing a mode: Redpanda's words (v26.2), and `json_infer` beside them.
//! Does not own: the other properties.
//! Invariants: what is written reads back as the same mode; nothing is trimmed, ignored or guessed.

use std::fmt;

/// The forms, for people who got it wrong.
const FORMS: &str = "use disabled, key_value, value_schema_id_prefix, value_schema_latest[:subject=S,protobuf_name=N], or \
                     sections such as `key:mode=string;value:mode=schema_latest,layout=nested;headers:value_type=string`";
/// Longest text of a mode, in bytes.
const MODE_BYTES_MAX: usize = 4096;

/// How the parts of a record become columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct IcebergMode {
    /// What becomes of the key: `redpanda.key`.
    pub key: Section,
    /// What becomes of the value.
    pub value: Section,
    /// Where the fields of the value lie.
    pub layout: ValueLayout,
    /// What becomes of header values: `redpanda.headers.value`.
    pub headers: HeaderValues,
}

/// How the bytes of a key or value become columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Section {
    /// As they are.
    #[default]
    Binary,
    /// As text.
    String,
    /// By the schema whose id the record bears.
    SchemaIdPrefix,
    /// By the latest schema of a subject.
    SchemaLatest(Latest),
    /// JSON without a schema (values only; Frazil's own).
    JsonInfer,
}

/// Which schema is the latest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Latest {
    /// None: `<topic>-key` or `<topic>-value`.
    pub subject: Option<String>,
    /// Full name of a Protobuf message; none: the first of its file.
    pub protobuf_name: Option<String>,
}

/// Where the fields of a value lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ValueLayout {
    /// A column each.
    #[default]
    Flat,
    /// In one column `value`.
    Nested,
}

/// Type of header values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HeaderValues {
    #[default]
    Binary,
    /// What is no UTF-8 gets U+FFFD.
    String,
}

/// A key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Key,
    Value,
}

impl Side {
    /// The word in subjects, sections and header names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

impl IcebergMode {
    /// Reads a mode; none for `disabled`. The error says what is wrong and what there is.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.len() > MODE_BYTES_MAX {
            return Err(format!("a mode has at most {MODE_BYTES_MAX} bytes, this one has {}", text.len()));
        }
        read(text).map_err(|what| format!("`{text}` is no value of {}: {what}; {FORMS}", super::MODE))
    }

    /// One side's section.
    pub fn section(&self, side: Side) -> &Section {
        match side {
            Side::Key => &self.key,
            Side::Value => &self.value,
        }
    }

    /// The subject whose latest schema one side follows; none when it follows none.
    pub fn subject(&self, side: Side, topic: &str) -> Option<String> {
        match self.section(side) {
            Section::SchemaLatest(latest) => {
                Some(latest.subject.clone().unwrap_or_else(|| default_subject(topic, side)))
            }
            _ => None,
        }
    }
}

/// A property's value as it is shown: of a mode, the shorthand when there is one.
pub fn shown<'v>(property: &str, value: &'v str) -> std::borrow::Cow<'v, str> {
    match property {
        super::MODE => {
            IcebergMode::parse(value).ok().flatten().map_or(value.into(), |m| m.to_string().into())
        }
        _ => value.into(),
    }
}

/// The subject of Confluent's TopicNameStrategy.
pub fn default_subject(topic: &str, side: Side) -> String {
    format!("{topic}-{}", side.as_str())
}

fn read(text: &str) -> Result<Option<IcebergMode>, String> {
    let value = match text {
        "disabled" => return Ok(None),
        "key_value" => Section::Binary,
        "value_schema_id_prefix" => Section::SchemaIdPrefix,
        "value_schema_latest" => Section::SchemaLatest(Latest::default()),
        _ => match text.strip_prefix("value_schema_latest:") {
            Some(options) => Section::SchemaLatest(latest(options)?),
            None => return sections(text).map(Some),
        },
    };
    Ok(Some(IcebergMode { value, ..IcebergMode::default() }))
}

/// The options of the shorthand.
fn latest(options: &str) -> Result<Latest, String> {
    let mut options = Options::read(options)?;
    let latest = Latest { subject: options.take("subject"), protobuf_name: options.take("protobuf_name") };
    options.none_left("value_schema_latest")?;
    Ok(latest)
}

fn sections(text: &str) -> Result<IcebergMode, String> {
    let mut mode = IcebergMode::default();
    let mut seen: Vec<&str> = Vec::new();
    for section in text.split(';') {
        let (name, options) = match section.split_once(':') {
            Some((name @ ("key" | "value" | "headers"), options)) => (name, options),
            Some((name, _)) => return Err(format!("there is no section `{name}`")),
            None if ["key", "value", "headers"].contains(&section) => {
                return Err(format!("section `{section}` has no options"));
            }
            None if section.is_empty() => return Err("a section is empty".into()),
            None => return Err(format!("there is no mode `{section}`")),
        };
        if seen.contains(&name) {
            return Err(format!("section `{name}` is given twice"));
        }
        seen.push(name);
        let mut options = Options::read(options)?;
        match name {
            "key" => mode.key = part(&mut options, Side::Key)?,
            "value" => {
                mode.value = part(&mut options, Side::Value)?;
                mode.layout = layout(&mut options, &mode.value)?;
            }
            _ => mode.headers = headers(&mut options)?,
        }
        options.none_left(&format!("section `{name}`"))?;
    }
    Ok(mode)
}

fn part(options: &mut Options<'_>, side: Side) -> Result<Section, String> {
    let mode = options.take("mode");
    let section = match mode.as_deref() {
        None | Some("binary") => Section::Binary,
        Some("string") => Section::String,
        Some("schema_id_prefix") => Section::SchemaIdPrefix,
        Some("schema_latest") => {
            let (subject, protobuf_name) = (options.take("subject"), options.take("protobuf_name"));
            return Ok(Section::SchemaLatest(Latest { subject, protobuf_name }));
        }
        Some("json_infer") if side == Side::Value => Section::JsonInfer,
        Some("json_infer") => return Err("json_infer is for values only".into()),
        Some(other) => {
            return Err(format!(
                "`{other}` is no mode of section `{}`: there are binary, string, schema_id_prefix, schema_latest{}",
                side.as_str(),
                if side == Side::Value { " and json_infer" } else { "" }
            ));
        }
    };
    for option in ["subject", "protobuf_name"] {
        if options.take(option).is_some() {
            return Err(format!("`{option}` goes with mode=schema_latest only"));
        }
    }
    Ok(section)
}

fn layout(options: &mut Options<'_>, value: &Section) -> Result<ValueLayout, String> {
    match options.take("layout").as_deref() {
        None | Some("flat") => Ok(ValueLayout::Flat),
        Some("nested") if matches!(value, Section::Binary | Section::String) => {
            Err("layout=nested needs a mode with a schema".into())
        }
        Some("nested") => Ok(ValueLayout::Nested),
        Some(other) => Err(format!("`{other}` is no layout: there are flat and nested")),
    }
}

fn headers(options: &mut Options<'_>) -> Result<HeaderValues, String> {
    match options.take("value_type").as_deref() {
        None | Some("binary") => Ok(HeaderValues::Binary),
        Some("string") => Ok(HeaderValues::String),
        Some(other) => Err(format!("`{other}` is no value_type: there are binary and string")),
    }
}

/// `name=value,…`: each name once, no value empty.
struct Options<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Options<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut options: Vec<(&str, &str)> = Vec::new();
        for option in text.split(',') {
            let Some((name, value)) = option.split_once('=') else {
                return Err(format!("`{option}` is no option: write name=value"));
            };
            if value.is_empty() {
                return Err(format!("option `{name}` is empty"));
            }
            if options.iter().any(|(known, _)| *known == name) {
                return Err(format!("option `{name}` is given twice"));
            }
            options.push((name, value));
        }
        Ok(Self(options))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1.to_owned())
    }

    fn none_left(&self, place: &str) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("{place} has no option `{name}`")),
            None => Ok(()),
        }
    }
}

impl fmt::Display for IcebergMode {
    /// The shorthand when there is one, else the sections that are not at their default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Self { value: self.value.clone(), ..Self::default() };
        if *self == plain {
            match &self.value {
                Section::Binary => return f.write_str("key_value"),
                Section::SchemaIdPrefix => return f.write_str("value_schema_id_prefix"),
                Section::SchemaLatest(latest) => {
                    let options = latest.options();
                    let colon = if options.is_empty() { "" } else { ":" };
                    return write!(f, "value_schema_latest{colon}{}", options.join(","));
                }
                Section::String | Section::JsonInfer => {}
            }
        }
        let mut sections = Vec::new();
        if self.key != Section::Binary {
            sections.push(format!("key:{}", self.key.options().join(",")));
        }
        if self.value != Section::Binary {
            let mut options = self.value.options();
            if self.layout == ValueLayout::Nested {
                options.push("layout=nested".into());
            }
            sections.push(format!("value:{}", options.join(",")));
        }
        if self.headers == HeaderValues::String {
            sections.push("headers:value_type=string".into());
        }
        f.write_str(&sections.join(";"))
    }
}

impl Section {
    fn options(&self) -> Vec<String> {
        let word = match self {
            Self::Binary => "binary",
            Self::String => "string",
            Self::SchemaIdPrefix => "schema_id_prefix",
            Self::SchemaLatest(_) => "schema_latest",
            Self::JsonInfer => "json_infer",
        };
        let mut options = vec![format!("mode={word}")];
        if let Self::SchemaLatest(latest) = self {
            options.extend(latest.options());
        }
        options
    }
}

impl Latest {
    fn options(&self) -> Vec<String> {
        let named = [("subject", &self.subject), ("protobuf_name", &self.protobuf_name)];
        named.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latest(subject: Option<&str>, protobuf_name: Option<&str>) -> Section {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Section::SchemaLatest(Latest { subject: owned(subject), protobuf_name: owned(protobuf_name) })
    }

    fn mode(key: Section, value: Section, layout: ValueLayout, headers: HeaderValues) -> IcebergMode {
        IcebergMode { key, value, layout, headers }
    }

    fn of_value(value: Section) -> IcebergMode {
        IcebergMode { value, ..IcebergMode::default() }
    }

    /// What is typed, what it means, and what `describe` prints.
    #[test]
    fn every_form_is_read_and_printed() {
        use HeaderValues::{Binary as Raw, String as Text};
        use Section::{Binary, JsonInfer, SchemaIdPrefix, String};
        use ValueLayout::{Flat, Nested};
        for (text, expected, shown) in [
            ("key_value", IcebergMode::default(), "key_value"),
            ("value_schema_id_prefix", of_value(SchemaIdPrefix), "value_schema_id_prefix"),
            ("value_schema_latest", of_value(latest(None, None)), "value_schema_latest"),
            (
                "value_schema_latest:subject=S",
                of_value(latest(Some("S"), None)),
                "value_schema_latest:subject=S",
            ),
            (
                "value_schema_latest:protobuf_name=a.B,subject=S",
                of_value(latest(Some("S"), Some("a.B"))),
                "value_schema_latest:subject=S,protobuf_name=a.B",
            ),
            ("value:mode=binary", IcebergMode::default(), "key_value"),
            ("key:mode=binary;headers:value_type=binary", IcebergMode::default(), "key_value"),
            ("value:layout=flat", IcebergMode::default(), "key_value"),
            ("value:mode=schema_id_prefix", of_value(SchemaIdPrefix), "value_schema_id_prefix"),
            ("value:mode=schema_latest", of_value(latest(None, None)), "value_schema_latest"),
            (
                "value:mode=schema_latest,subject=a=b",
                of_value(latest(Some("a=b"), None)),
                "value_schema_latest:subject=a=b",
            ),
            (
                "value:subject= s,mode=schema_latest",
                of_value(latest(Some(" s"), None)),
                "value_schema_latest:subject= s",
            ),
            ("value:mode=string", of_value(String), "value:mode=string"),
            ("value:mode=json_infer", of_value(JsonInfer), "value:mode=json_infer"),
            (
                "value:mode=json_infer,layout=nested",
                mode(Binary, JsonInfer, Nested, Raw),
                "value:mode=json_infer,layout=nested",
            ),
            ("key:mode=string", mode(String, Binary, Flat, Raw), "key:mode=string"),
            ("headers:value_type=string", mode(Binary, Binary, Flat, Text), "headers:value_type=string"),
            (
                "headers:value_type=string;value:layout=nested,mode=schema_id_prefix;key:mode=schema_latest,subject=K",
                mode(latest(Some("K"), None), SchemaIdPrefix, Nested, Text),
                "key:mode=schema_latest,subject=K;value:mode=schema_id_prefix,layout=nested;headers:value_type=string",
            ),
            (
                "key:mode=schema_id_prefix;value:mode=string",
                mode(SchemaIdPrefix, String, Flat, Raw),
                "key:mode=schema_id_prefix;value:mode=string",
            ),
        ] {
            let read = IcebergMode::parse(text).expect(text).expect(text);
            assert_eq!(read, expected, "{text}");
            assert_eq!(read.to_string(), shown, "{text}");
            assert_eq!(IcebergMode::parse(shown), Ok(Some(expected)), "{shown}");
        }
        assert_eq!(IcebergMode::parse("disabled"), Ok(None));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (text, word) in [
            ("", "section is empty"),
            ("KEY_VALUE", "no mode `KEY_VALUE`"),
            ("key_value:subject=x", "no section `key_value`"),
            ("disabled:x=y", "no section `disabled`"),
            (" key_value", "no mode"),
            ("value_schema_latest:", "`` is no option"),
            ("value_schema_latest:subject=", "`subject` is empty"),
            ("value_schema_latest:subject=a,subject=b", "`subject` is given twice"),
            ("value_schema_latest:x=y", "no option `x`"),
            ("value_schema_latest:layout=nested", "no option `layout`"),
            ("value_schema_latest:mode=binary", "no option `mode`"),
            ("value_schema_id_prefix:subject=x", "no section `value_schema_id_prefix`"),
            ("value", "section `value` has no options"),
            ("value:", "`` is no option"),
            ("value:mode", "`mode` is no option"),
            ("value:mode=", "`mode` is empty"),
            ("value:mode=text", "`text` is no mode"),
            ("value: mode=string", "no option ` mode`"),
            ("value:mode=string ", "`string ` is no mode"),
            ("value:mode=string,mode=binary", "`mode` is given twice"),
            ("value:mode=string,", "`` is no option"),
            ("value:mode=string;", "section is empty"),
            ("value:mode=string;;key:mode=string", "section is empty"),
            ("value:mode=string;value:mode=binary", "`value` is given twice"),
            ("value:mode=binary,subject=x", "`subject` goes with mode=schema_latest only"),
            ("value:subject=x", "`subject` goes with mode=schema_latest only"),
            ("value:mode=schema_id_prefix,protobuf_name=x", "`protobuf_name` goes with"),
            ("value:mode=json_infer,subject=x", "`subject` goes with"),
            ("value:layout=nested", "needs a mode with a schema"),
            ("value:mode=string,layout=nested", "needs a mode with a schema"),
            ("value:mode=schema_latest,layout=deep", "`deep` is no layout"),
            ("value:mode=schema_latest,x=y", "section `value` has no option `x`"),
            ("key:mode=string,layout=flat", "section `key` has no option `layout`"),
            ("key:mode=json_infer", "values only"),
            ("key:mode=text", "`text` is no mode of section `key`"),
            ("headers:mode=string", "section `headers` has no option `mode`"),
            ("headers:value_type=text", "`text` is no value_type"),
            ("value:mode=string;footers:a=b", "no section `footers`"),
        ] {
            let error = IcebergMode::parse(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
            assert!(error.contains("redpanda.iceberg.mode") && error.contains("key_value"), "{error}");
        }
        assert!(IcebergMode::parse(&"x".repeat(MODE_BYTES_MAX + 1)).is_err());
    }
}
