//! Requests that come again (`Idempotency-Key`).
//!
//! Owns: reading the key; answering from what was noted of the first time.
//! Does not own: the notes (tables).

use access::catalog::Act;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use tables::catalog::{Noted, Once};
use uuid::Uuid;

use super::route::{Route, Snapshots};
use super::{Answer, Asked, answers};
use crate::http::blocking;
use crate::http::errors::RestFault;

const HEADER: &str = "idempotency-key";

/// Which request this is, by what its client says.
pub(super) fn once(asked: &Asked) -> Result<Once, RestFault> {
    let Some(key) = asked.headers.get(HEADER) else { return Ok(Once::default()) };
    if matches!(asked.method, Method::GET | Method::HEAD) {
        return Ok(Once::default());
    }
    let key = key.to_str().ok().and_then(|key| Uuid::try_parse(key).ok());
    let key = key.ok_or_else(|| RestFault::bad("an Idempotency-Key is a UUID (version 7)"))?;
    let request = [
        asked.method.as_str().as_bytes(),
        b" ",
        asked.uri.path_and_query().map_or("", |p| p.as_str()).as_bytes(),
        b"\n",
        &asked.body,
    ]
    .concat();
    Ok(Once::keyed(asked.who(), &key.to_string(), &request))
}

/// The answer when the request was carried out before.
pub(super) async fn noted(
    asked: &Asked,
    route: &Route,
) -> Result<Option<axum::response::Response>, RestFault> {
    let (tables, once) = (asked.tables.clone(), asked.once.clone());
    let Some(noted) = blocking(move || tables.noted(&once)).await?? else { return Ok(None) };
    answer(asked, route, noted).await.map(Some)
}

async fn answer(asked: &Asked, route: &Route, noted: Noted) -> Answer {
    let mut made = match noted {
        Noted::Done => return Ok(StatusCode::NO_CONTENT.into_response()),
        Noted::Answer(answer) => return answers::ok(&answer),
        Noted::Made(made) => made,
    };
    match (route, made.pop()) {
        (Route::Transaction, _) | (_, None) => Ok(StatusCode::NO_CONTENT.into_response()),
        (Route::CreateView(_) | Route::ReplaceView(_), Some((ident, _))) => {
            asked.may_view(Act::LoadView, &ident)?;
            answers::view(&asked.tables.load_view(&ident).await?)
        }
        (_, Some((ident, location))) => {
            asked.may_table(Act::LoadTable, &ident)?;
            answers::table(asked.tables.load_version(&ident, &location).await?, Snapshots::All).await
        }
    }
}
