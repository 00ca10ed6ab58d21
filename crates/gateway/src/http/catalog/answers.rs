//! Answers of the catalog door.
//!
//! Owns: JSON of tables, views and lists; entity tags; pages.

use axum::http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tables::catalog::View;
use tables::{CatalogError, Table, TableIdent};

use super::Answer;
use super::route::{Page, Snapshots};
use crate::http::blocking;
use crate::http::errors::{JSON, RestFault, json_response};

/// Entries of a page when the client does not say.
const PAGE_SIZE: usize = 1_000;

pub(super) fn ok(body: &Value) -> Answer {
    Ok(json_response(StatusCode::OK, JSON, body.to_string()))
}

/// `LoadTableResult`.
pub(super) async fn table(table: Table, snapshots: Snapshots) -> Answer {
    let tag = etag(&table, snapshots);
    // Metadata with many snapshots takes a while to write out.
    let body = blocking(move || table_body(&table, snapshots)).await??;
    let mut response = json_response(StatusCode::OK, JSON, body);
    if let Some(value) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(response)
}

/// A metadata file never changes, so its location names the version. A staged table has none.
pub(super) fn etag(table: &Table, snapshots: Snapshots) -> Option<String> {
    let file = table.metadata_location.rsplit('/').next().filter(|file| !file.is_empty())?;
    Some(format!("\"{file}-{}\"", snapshots.word()))
}

fn table_body(table: &Table, snapshots: Snapshots) -> Result<String, RestFault> {
    let location = Some(&*table.metadata_location).filter(|location| !location.is_empty());
    if snapshots == Snapshots::All {
        return Ok(result(location, &table.metadata_json()?));
    }
    let mut metadata = serde_json::from_str(&table.metadata_json()?)
        .map_err(|e| CatalogError::Format(format!("{}: {e}", table.metadata_location)))?;
    keep_referenced(&mut metadata);
    Ok(result(location, &metadata.to_string()))
}

/// `metadata` is JSON already, and may be long.
fn result(location: Option<&str>, metadata: &str) -> String {
    let location = location.map(|l| format!(r#""metadata-location":{},"#, json!(l))).unwrap_or_default();
    format!(r#"{{{location}"metadata":{metadata},"config":{{}}}}"#)
}

/// `LoadViewResult`.
pub(super) fn view(view: &View) -> Answer {
    let body = result(Some(&view.metadata_location), &view.metadata_json()?);
    Ok(json_response(StatusCode::OK, JSON, body))
}

/// Leaves only the snapshots that a branch or tag names.
fn keep_referenced(metadata: &mut Value) {
    let mut named: Vec<i64> = metadata["refs"]
        .as_object()
        .map(|refs| refs.values().filter_map(|r| r["snapshot-id"].as_i64()).collect())
        .unwrap_or_default();
    named.extend(metadata["current-snapshot-id"].as_i64());
    if let Some(list) = metadata.get_mut("snapshots").and_then(Value::as_array_mut) {
        list.retain(|snapshot| snapshot["snapshot-id"].as_i64().is_some_and(|id| named.contains(&id)));
    }
}

/// `ListTablesResponse`, for views too.
pub(super) fn identifiers(found: Vec<TableIdent>, page: &Page) -> Answer {
    let named = found.into_iter().map(|ident| (ident.name.clone(), json!(ident))).collect();
    list("identifiers", named, page)
}

/// Entries by name, or one page of them. The token is the last name of the page before, so that what is made and dropped
/// meanwhile neither repeats nor hides others.
pub(super) fn list(key: &str, mut named: Vec<(String, Value)>, page: &Page) -> Answer {
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    let Some(token) = &page.token else {
        let all: Vec<Value> = named.into_iter().map(|(_, value)| value).collect();
        return ok(&json!({key: all}));
    };
    let after = from_token(token)?;
    let mut rest = named.into_iter().filter(|(name, _)| after.as_ref().is_none_or(|after| name > after));
    let part: Vec<_> = rest.by_ref().take(page.size.unwrap_or(PAGE_SIZE)).collect();
    let next = rest.next().and_then(|_| part.last()).map(|(name, _)| to_token(name));
    let values: Vec<Value> = part.into_iter().map(|(_, value)| value).collect();
    ok(&json!({key: values, "next-page-token": next}))
}

fn to_token(name: &str) -> String {
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn from_token(token: &str) -> Result<Option<String>, RestFault> {
    if token.is_empty() {
        return Ok(None);
    }
    let pairs = token.as_bytes().chunks(2).map(|pair| {
        // A sign is no digit, though numbers are parsed with one.
        let is_byte = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|_| is_byte)?, 16).ok()
    });
    let name = pairs.collect::<Option<Vec<u8>>>().and_then(|bytes| String::from_utf8(bytes).ok());
    name.map(Some).ok_or_else(|| RestFault::bad(format!("pageToken `{token}` is none that was given out")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for name in ["t", "Größe", "a\u{1f}b"] {
            assert_eq!(from_token(&to_token(name)).expect("token"), Some(name.to_owned()));
        }
        assert_eq!(from_token("").expect("begin"), None);
        for bad in ["x", "zz", "ff", "+1", "abc"] {
            assert!(from_token(bad).is_err(), "{bad}");
        }
    }
}
