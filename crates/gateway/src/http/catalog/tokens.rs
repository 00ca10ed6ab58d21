//! `POST /v1/oauth/tokens`: client credentials (RFC 6749 §4.4) and token exchange (RFC 8693).
//!
//! Owns: reading the form, OAuth's answers and errors.
//! Does not own: secrets and tokens (`access`).
//! Invariants: few secrets are checked at once, since each costs processor time; neither secrets nor tokens are logged.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::route::decode;
use super::{Answer, Door, caller};
use crate::http::blocking;
use crate::http::errors::{JSON, RestFault, json_response};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Longest form, bytes, and most fields of one.
const FORM_BYTES_MAX: usize = 32 << 10;
const FIELDS_MAX: usize = 50;

#[derive(Default)]
struct Form {
    grant_type: String,
    client_id: Option<String>,
    client_secret: Option<String>,
    scope: String,
    subject_token: Option<String>,
    actor_token: bool,
}

/// Answers a request for a token.
pub(super) async fn answer(door: &Door, headers: &HeaderMap, body: &[u8]) -> Answer {
    let form = match read(body) {
        Ok(form) => form,
        Err(why) => return Ok(refusal(StatusCode::BAD_REQUEST, "invalid_request", &why)),
    };
    let issued = match form.grant_type.as_str() {
        "client_credentials" => by_secret(door, headers, form).await?,
        EXCHANGE if form.actor_token => {
            Err(refusal(StatusCode::BAD_REQUEST, "invalid_request", "acting for others is not supported"))
        }
        EXCHANGE => by_token(door, headers, &form),
        _ => Err(refusal(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "write client_credentials or token exchange",
        )),
    };
    Ok(issued.map_or_else(|refusal| refusal, |(token, seconds, scope)| granted(&token, seconds, &scope)))
}

type Issued = Result<(String, i64, String), Response>;

async fn by_secret(door: &Door, headers: &HeaderMap, form: Form) -> Result<Issued, RestFault> {
    let given = basic(headers).or(form.client_id.zip(form.client_secret));
    let Some((id, secret)) = given else {
        let why = "give client_id and client_secret, in the form or in the header Authorization";
        return Ok(Err(refusal(StatusCode::UNAUTHORIZED, "invalid_client", why)));
    };
    // The semaphore is never closed.
    let _place = door.checks.acquire().await.ok();
    let (access, now, scope) = (door.access.clone(), door.clock.now_ms(), form.scope.clone());
    let issued = blocking(move || access.issue_token(&id, &secret, &scope, now)).await?;
    Ok(match issued {
        Ok(Some((token, seconds))) => Ok((token, seconds, form.scope)),
        Ok(None) => {
            tracing::warn!("refused a token: client id and secret do not fit");
            Err(refusal(StatusCode::UNAUTHORIZED, "invalid_client", "client id and secret do not fit"))
        }
        Err(error) => Err(refusal(StatusCode::BAD_REQUEST, "invalid_scope", &error.to_string())),
    })
}

fn by_token(door: &Door, headers: &HeaderMap, form: &Form) -> Issued {
    let Some(token) = form.subject_token.as_deref().or_else(|| caller::bearer(headers)) else {
        return Err(refusal(StatusCode::BAD_REQUEST, "invalid_request", "subject_token is missing"));
    };
    match door.access.exchange_token(token, &form.scope, door.clock.now_ms()) {
        Ok(Some((token, seconds))) => Ok((token, seconds, form.scope.clone())),
        Ok(None) => {
            Err(refusal(StatusCode::UNAUTHORIZED, "invalid_client", "the subject token does not hold"))
        }
        Err(error) => Err(refusal(StatusCode::BAD_REQUEST, "invalid_scope", &error.to_string())),
    }
}

fn granted(token: &str, seconds: i64, scope: &str) -> Response {
    let body = json!({
        "access_token": token,
        "token_type": "bearer",
        "issued_token_type": ACCESS_TOKEN,
        "expires_in": seconds,
        "scope": scope,
    });
    unstored(json_response(StatusCode::OK, JSON, body.to_string()))
}

/// An error as OAuth has them.
fn refusal(status: StatusCode, error: &str, why: &str) -> Response {
    let body = json!({"error": error, "error_description": why}).to_string();
    let mut response = unstored(json_response(status, JSON, body));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    }
    response
}

fn unstored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Client id and secret in the header; RFC 6749 has them encoded as in a form, and clients often do not.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (kind, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !kind.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn read(body: &[u8]) -> Result<Form, String> {
    if body.len() > FORM_BYTES_MAX {
        return Err(format!("a form has at most {FORM_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(body).map_err(|_| "the form is not text".to_owned())?;
    let mut form = Form::default();
    for pair in text.split('&').take(FIELDS_MAX).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value).map_err(|_| format!("field `{key}` has a broken escape"))?;
        match key {
            "grant_type" => form.grant_type = value,
            "client_id" => form.client_id = Some(value),
            "client_secret" => form.client_secret = Some(value),
            "scope" => form.scope = value,
            "subject_token" => form.subject_token = Some(value),
            "actor_token" => form.actor_token = true,
            _ => {}
        }
    }
    Ok(form)
}
