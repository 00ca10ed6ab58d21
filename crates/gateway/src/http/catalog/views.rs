//! Requests about views.

use access::catalog::Act;
use tables::TableIdent;
use tables::catalog::{ViewChange, rest};

use super::route::Page;
use super::{Answer, Asked, answers, no_content};
use crate::http::blocking;
use crate::http::errors::RestFault;

pub(super) async fn list(asked: &Asked, namespace: &[String], page: &Page) -> Answer {
    asked.may_in(Act::ListViews, namespace)?;
    let (tables, name) = (asked.tables.clone(), namespace.to_vec());
    let found = blocking(move || tables.views(&name)).await??;
    answers::identifiers(found, page)
}

pub(super) async fn create(asked: &Asked, namespace: &[String]) -> Answer {
    asked.may_in(Act::CreateView, namespace)?;
    let body: rest::CreateView = asked.body()?;
    let ident = TableIdent { namespace: namespace.to_vec(), name: body.name.clone() };
    let made = asked.tables.create_view(&ident, body, &asked.once).await;
    answers::view(&made.map_err(|e| RestFault::from(e).as_illegal_argument())?)
}

pub(super) async fn load(asked: &Asked, ident: &TableIdent) -> Answer {
    asked.may_view(Act::LoadView, ident)?;
    answers::view(&asked.tables.load_view(ident).await?)
}

pub(super) async fn exists(asked: &Asked, ident: &TableIdent) -> Answer {
    asked.may_view(Act::LoadView, ident)?;
    asked.tables.load_view(ident).await?;
    no_content()
}

pub(super) async fn replace(asked: &Asked, ident: &TableIdent) -> Answer {
    asked.may_view(Act::ReplaceView, ident)?;
    let body: rest::CommitView = asked.body()?;
    if body.identifier.as_ref().is_some_and(|named| named != ident) {
        return Err(RestFault::bad(format!("the body is about another view than the path, {ident}")));
    }
    let change = ViewChange { requirements: body.requirements, updates: body.updates };
    let made = asked.tables.replace_view(ident, &change, &asked.once).await;
    answers::view(&made.map_err(|e| RestFault::from(e).as_illegal_argument())?)
}

pub(super) async fn drop(asked: &Asked, ident: &TableIdent) -> Answer {
    asked.may_view(Act::DropView, ident)?;
    asked.tables.drop_view(ident, &asked.once).await?;
    no_content()
}

pub(super) async fn rename(asked: &Asked) -> Answer {
    let rest::Rename { source, destination } = asked.body()?;
    asked.may_view(Act::DropView, &source)?;
    asked.may_in(Act::CreateView, &destination.namespace)?;
    asked.tables.rename_view(&source, &destination, &asked.once).await?;
    no_content()
}
