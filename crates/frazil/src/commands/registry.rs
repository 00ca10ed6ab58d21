//! `frazil registry`: over the registry's own REST protocol, as any client would.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};

use super::Usage;
use crate::cli::{
    ContextCommand, LevelCommand, ModeCommand, RegistryCommand, SchemaArgs, SchemaCommand, SchemaKind,
    SubjectCommand,
};
use crate::output::{self, Cell, Column, Format};
use crate::remote::Remote;
use crate::remote::http::{Http, segment};

/// Longest schema that is read, bytes: what the registry takes.
const SCHEMA_BYTES_MAX: u64 = schemas::registry::SCHEMA_BYTES_MAX as u64;

pub(super) async fn run(command: RegistryCommand, remote: &Remote) -> anyhow::Result<()> {
    let http = Http::new(remote)?;
    match command {
        RegistryCommand::Schema(command) => schema(&http, command).await,
        RegistryCommand::Subject(command) => subject(&http, command).await,
        RegistryCommand::CompatibilityLevel(command) => level(&http, command).await,
        RegistryCommand::Mode(command) => mode(&http, command).await,
        RegistryCommand::Context(command) => context(&http, command).await,
    }
}

async fn schema(http: &Http, command: SchemaCommand) -> anyhow::Result<()> {
    match command {
        SchemaCommand::Create(args) => {
            let path = format!("/subjects/{}/versions", segment(&args.subject));
            let mut registered = http.registry(Method::POST, &path, Some(body(&args)?)).await?;
            registered["subject"] = json!(args.subject);
            versions(args.output.output, vec![registered])
        }
        SchemaCommand::CheckCompatibility { schema, schema_version } => {
            check(http, &schema, schema_version.as_deref()).await
        }
        SchemaCommand::Get { subject, schema_version, id, print_schema, output } => {
            let path = match (&subject, id) {
                (Some(subject), _) => {
                    format!("/subjects/{}/versions/{}", segment(subject), segment(&schema_version))
                }
                (None, id) => format!("/schemas/ids/{}", id.unwrap_or_default()),
            };
            let mut found = http.registry(Method::GET, &path, None).await?;
            if print_schema {
                println!("{}", found["schema"].as_str().unwrap_or_default());
                return Ok(());
            }
            if let Some(id) = id {
                found["id"] = json!(id);
            }
            versions(output.output, vec![found])
        }
        SchemaCommand::List { prefix, deleted, output } => {
            let prefix = prefix.map(|p| format!("&subjectPrefix={}", segment(&p))).unwrap_or_default();
            let path = format!("/schemas?deleted={deleted}{prefix}");
            let found = http.registry(Method::GET, &path, None).await?;
            versions(output.output, found.as_array().cloned().unwrap_or_default())
        }
        SchemaCommand::References { subject, schema_version, output } => {
            let (subject, version) = (segment(&subject), segment(&schema_version));
            let path = format!("/subjects/{subject}/versions/{version}/referencedby");
            let ids = http.registry(Method::GET, &path, None).await?;
            let mut found = Vec::new();
            for id in ids.as_array().into_iter().flatten() {
                let used = http.registry(Method::GET, &format!("/schemas/ids/{id}/versions"), None).await?;
                for version in used.as_array().into_iter().flatten() {
                    let mut version = version.clone();
                    version["id"] = id.clone();
                    found.push(version);
                }
            }
            versions(output.output, found)
        }
        SchemaCommand::Delete { subject, schema_version, permanent } => {
            let path = format!(
                "/subjects/{}/versions/{}?permanent={permanent}",
                segment(&subject),
                segment(&schema_version)
            );
            let version = http.registry(Method::DELETE, &path, None).await?;
            println!("{subject}: version {version} {}", deleted(permanent));
            Ok(())
        }
    }
}

fn deleted(permanent: bool) -> &'static str {
    if permanent { "deleted for good" } else { "deleted" }
}

async fn check(http: &Http, args: &SchemaArgs, version: Option<&str>) -> anyhow::Result<()> {
    let version = version.map(|version| format!("/{}", segment(version))).unwrap_or_default();
    let path = format!("/compatibility/subjects/{}/versions{version}?verbose=true", segment(&args.subject));
    let answer = http.registry(Method::POST, &path, Some(body(args)?)).await?;
    if matches!(args.output.output, Format::Json | Format::Ndjson) {
        println!("{answer}");
    }
    if answer["is_compatible"] == true {
        if !matches!(args.output.output, Format::Json | Format::Ndjson) {
            println!("{}: compatible", args.subject);
        }
        return Ok(());
    }
    let messages = answer["messages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let text = messages.collect::<Vec<_>>().join("\n  ");
    Err(anyhow::anyhow!("{}: the schema is incompatible\n  {text}", args.subject))
}

/// The schema in a request's form.
fn body(args: &SchemaArgs) -> anyhow::Result<Value> {
    let kind = args.r#type.or_else(|| kind_of(&args.schema));
    let Some(kind) = kind else {
        return Err(Usage(format!(
            "{}: say --type avro, json or protobuf; the file's ending does not tell",
            args.schema.display()
        ))
        .into());
    };
    let references = args.references.iter().map(|text| reference(text)).collect::<Result<Vec<_>, _>>()?;
    let kind = match kind {
        SchemaKind::Avro => "AVRO",
        SchemaKind::Json => "JSON",
        SchemaKind::Protobuf => "PROTOBUF",
    };
    Ok(json!({"schema": text(&args.schema)?, "schemaType": kind, "references": references}))
}

fn kind_of(file: &Path) -> Option<SchemaKind> {
    match file.extension()?.to_str()? {
        "avsc" | "avro" => Some(SchemaKind::Avro),
        "json" => Some(SchemaKind::Json),
        "proto" => Some(SchemaKind::Protobuf),
        _ => None,
    }
}

fn text(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().take(SCHEMA_BYTES_MAX + 1).read_to_string(&mut text),
        _ => std::fs::File::open(file)
            .and_then(|file| file.take(SCHEMA_BYTES_MAX + 1).read_to_string(&mut text)),
    };
    read.with_context(|| file.display().to_string())?;
    Ok(text)
}

/// `NAME:SUBJECT:VERSION`; a name may have colons.
fn reference(text: &str) -> anyhow::Result<Value> {
    let mut parts = text.rsplitn(3, ':');
    let (version, subject, name) = (parts.next(), parts.next(), parts.next());
    match (name, subject, version.and_then(|v| v.parse::<i32>().ok())) {
        (Some(name), Some(subject), Some(version)) if !name.is_empty() && !subject.is_empty() => {
            Ok(json!({"name": name, "subject": subject, "version": version}))
        }
        _ => Err(Usage(format!("--references {text}: write NAME:SUBJECT:VERSION")).into()),
    }
}

/// Prints versions; what an answer does not have stays empty.
fn versions(format: Format, found: Vec<Value>) -> anyhow::Result<()> {
    if format == Format::Json {
        println!("{}", Value::Array(found));
        return Ok(());
    }
    let columns = vec![
        Column::text("subject"),
        Column::number("version"),
        Column::number("id"),
        Column::text("type"),
        Column::text("state"),
    ];
    let row = |found: &Value| -> Vec<Cell> {
        let number = |name: &str| found[name].as_i64().map(|n| n.to_string());
        let kind = found["schemaType"].as_str().unwrap_or("AVRO");
        let state = if found["deleted"] == true { "deleted" } else { "active" };
        let known = found.get("schema").is_some();
        vec![
            found["subject"].as_str().map(str::to_owned),
            number("version"),
            number("id"),
            known.then(|| kind.to_owned()),
            Some(state.to_owned()),
        ]
    };
    Ok(output::print(format, columns, found.iter().map(row).collect())?)
}

async fn subject(http: &Http, command: SubjectCommand) -> anyhow::Result<()> {
    match command {
        SubjectCommand::List { deleted, output } => {
            let found = http.registry(Method::GET, &format!("/subjects?deleted={deleted}"), None).await?;
            names(output.output, "subject", &found)
        }
        SubjectCommand::Delete { subjects, permanent } => {
            for subject in subjects {
                let path = format!("/subjects/{}?permanent={permanent}", segment(&subject));
                let versions = http.registry(Method::DELETE, &path, None).await?;
                println!("{subject}: versions {versions} {}", deleted(permanent));
            }
            Ok(())
        }
    }
}

fn names(format: Format, column: &str, found: &Value) -> anyhow::Result<()> {
    if format == Format::Json {
        println!("{found}");
        return Ok(());
    }
    let names = found.as_array().into_iter().flatten().filter_map(Value::as_str);
    let rows = names.map(|name| vec![Some(name.to_owned())]).collect();
    Ok(output::print(format, vec![Column::text(column)], rows)?)
}

/// The paths of a setting: of each subject, or of the whole registry.
fn places<'a>(kind: &str, subjects: &'a [String]) -> Vec<(&'a str, String)> {
    if subjects.is_empty() {
        return vec![("", format!("/{kind}"))];
    }
    subjects.iter().map(|name| (name.as_str(), format!("/{kind}/{}", segment(name)))).collect()
}

fn shown(subject: &str) -> &str {
    if subject.is_empty() { "{GLOBAL}" } else { subject }
}

/// Prints what holds at each place.
async fn holding(
    http: &Http,
    format: Format,
    (kind, field): (&str, &str),
    subjects: &[String],
) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (subject, path) in places(kind, subjects) {
        let found = http.registry(Method::GET, &format!("{path}?defaultToGlobal=true"), None).await?;
        rows.push(vec![Some(shown(subject).to_owned()), found[field].as_str().map(str::to_owned)]);
    }
    let columns = vec![Column::text("subject"), Column::text(if kind == "mode" { "mode" } else { "level" })];
    Ok(output::print(format, columns, rows)?)
}

async fn level(http: &Http, command: LevelCommand) -> anyhow::Result<()> {
    match command {
        LevelCommand::Get { subjects, output } => {
            holding(http, output.output, ("config", "compatibilityLevel"), &subjects).await
        }
        LevelCommand::Set { subjects, level } => {
            for (subject, path) in places("config", &subjects) {
                let change = json!({"compatibility": level});
                let set = http.registry(Method::PUT, &path, Some(change)).await?;
                println!("{}: {}", shown(subject), set["compatibility"].as_str().unwrap_or_default());
            }
            Ok(())
        }
        LevelCommand::Reset { subjects } => {
            for (subject, path) in places("config", &subjects) {
                http.registry(Method::DELETE, &path, None).await?;
                println!("{}: reset", shown(subject));
            }
            Ok(())
        }
    }
}

async fn mode(http: &Http, command: ModeCommand) -> anyhow::Result<()> {
    match command {
        ModeCommand::Get { subjects, output } => {
            holding(http, output.output, ("mode", "mode"), &subjects).await
        }
        ModeCommand::Set { subjects, mode, force } => {
            for (subject, path) in places("mode", &subjects) {
                let path = format!("{path}?force={force}");
                let set = http.registry(Method::PUT, &path, Some(json!({"mode": mode}))).await?;
                println!("{}: {}", shown(subject), set["mode"].as_str().unwrap_or_default());
            }
            Ok(())
        }
        ModeCommand::Reset { subjects } => {
            for (subject, path) in places("mode", &subjects) {
                http.registry(Method::DELETE, &path, None).await?;
                println!("{}: reset", shown(subject));
            }
            Ok(())
        }
    }
}

async fn context(http: &Http, command: ContextCommand) -> anyhow::Result<()> {
    match command {
        ContextCommand::List(output) => {
            names(output.output, "context", &http.registry(Method::GET, "/contexts", None).await?)
        }
        ContextCommand::Delete { contexts } => {
            for context in contexts {
                http.registry(Method::DELETE, &format!("/contexts/{}", segment(&context)), None).await?;
                println!("{context}: deleted");
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_from_the_end() {
        let found = reference("urn:a:money:2").expect("a reference");
        assert_eq!(found, json!({"name": "urn:a", "subject": "money", "version": 2}));
        for bad in ["a", "a:b", "a:b:c", ":b:1", "a::1"] {
            assert!(reference(bad).is_err(), "{bad}");
        }
    }
}
