//! Requests about tables.

use access::catalog::Act;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::Value;
use tables::TableIdent;
use tables::catalog::{TableChange, rest};

use super::route::{Page, Snapshots};
use super::{Answer, Asked, answers, no_content};
use crate::http::blocking;
use crate::http::errors::RestFault;

/// Largest metrics report, bytes.
const REPORT_BYTES_MAX: usize = 1 << 20;

pub(super) async fn list(asked: &Asked, namespace: &[String], page: &Page) -> Answer {
    asked.may_in(Act::ListTables, namespace)?;
    let (tables, name) = (asked.tables.clone(), namespace.to_vec());
    let found = blocking(move || tables.tables(&name)).await??;
    answers::identifiers(found, page)
}

pub(super) async fn create(asked: &Asked, namespace: &[String]) -> Answer {
    asked.may_in(Act::CreateTable, namespace)?;
    let body: rest::CreateTable = asked.body()?;
    let ident = TableIdent { namespace: namespace.to_vec(), name: body.name.clone() };
    let table = if body.stage_create == Some(true) {
        asked.tables.stage_as_asked(&ident, body).await?
    } else {
        asked.tables.create_as_asked(&ident, body, &asked.once).await?
    };
    answers::table(table, Snapshots::All).await
}

pub(super) async fn register(asked: &Asked, namespace: &[String]) -> Answer {
    asked.may_in(Act::CreateTable, namespace)?;
    let body: rest::RegisterTable = asked.body()?;
    let ident = TableIdent { namespace: namespace.to_vec(), name: body.name.clone() };
    if body.overwrite {
        asked.may_table(Act::PurgeTable, &ident)?;
    }
    answers::table(asked.tables.register(&ident, &body, &asked.once).await?, Snapshots::All).await
}

pub(super) async fn load(asked: &Asked, ident: &TableIdent, snapshots: Snapshots) -> Answer {
    asked.may_table(Act::LoadTable, ident)?;
    let table = asked.tables.load(ident).await?;
    let known = asked.headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    if let (Some(known), Some(tag)) = (known, answers::etag(&table, snapshots))
        && known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
    {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    answers::table(table, snapshots).await
}

pub(super) async fn exists(asked: &Asked, ident: &TableIdent) -> Answer {
    asked.may_table(Act::LoadTable, ident)?;
    asked.tables.load(ident).await?;
    no_content()
}

pub(super) async fn commit(asked: &Asked, ident: &TableIdent) -> Answer {
    let body: rest::CommitTable = asked.body()?;
    if body.identifier.as_ref().is_some_and(|named| named != ident) {
        return Err(RestFault::bad(format!("the body is about another table than the path, {ident}")));
    }
    let change = TableChange { ident: ident.clone(), requirements: body.requirements, updates: body.updates };
    may_change(asked, &change)?;
    let mut made = asked.tables.commit_of_guest(vec![change], &asked.once).await?;
    let table = made.pop().ok_or_else(|| RestFault::bad("there is nothing to commit"))?;
    answers::table(table, Snapshots::All).await
}

pub(super) async fn transaction(asked: &Asked) -> Answer {
    let body: rest::CommitTransaction = asked.body()?;
    let changes: Result<Vec<TableChange>, RestFault> = body.table_changes.into_iter().map(change).collect();
    let changes = changes?;
    changes.iter().try_for_each(|change| may_change(asked, change))?;
    asked.tables.commit_of_guest(changes, &asked.once).await?;
    no_content()
}

/// What a change needs depends on what it brings.
fn may_change(asked: &Asked, change: &TableChange) -> Result<(), RestFault> {
    if change.creates() {
        return asked.may_in(Act::CreateTable, &change.ident.namespace);
    }
    let act = if change.brings_data() { Act::CommitData } else { Act::ChangeTable };
    asked.may_table(act, &change.ident)
}

fn change(body: rest::CommitTable) -> Result<TableChange, RestFault> {
    let ident = body.identifier.ok_or_else(|| RestFault::bad("a change in a transaction names its table"))?;
    Ok(TableChange { ident, requirements: body.requirements, updates: body.updates })
}

pub(super) async fn drop(asked: &Asked, ident: &TableIdent, purge: bool) -> Answer {
    asked.may_table(if purge { Act::PurgeTable } else { Act::DropTable }, ident)?;
    asked.tables.drop_of_guest(ident, purge, &asked.once).await?;
    no_content()
}

/// Reports are taken and dropped: nobody reads them here.
pub(super) async fn metrics(asked: &Asked, ident: &TableIdent) -> Answer {
    asked.may_table(Act::ReportMetrics, ident)?;
    if asked.body.len() > REPORT_BYTES_MAX {
        return Err(RestFault::bad(format!("a report has at most {REPORT_BYTES_MAX} bytes")));
    }
    let report: Value = asked.body()?;
    if report["report-type"].as_str().is_none() {
        return Err(RestFault::bad("a report says its `report-type`"));
    }
    let (tables, ident) = (asked.tables.clone(), ident.clone());
    blocking(move || tables.version(&ident)).await??;
    no_content()
}

pub(super) async fn rename(asked: &Asked) -> Answer {
    let rest::Rename { source, destination } = asked.body()?;
    asked.may_table(Act::DropTable, &source)?;
    asked.may_in(Act::CreateTable, &destination.namespace)?;
    asked.tables.rename(&source, &destination, &asked.once).await?;
    no_content()
}
