//! Who asks, and whether they may.
//!
//! Owns: reading the token of a request; the refusals 401 and 403.
//! Does not own: tokens and the decision (`access`).
//! Invariants: where tokens are needed, nothing but the token requests is answered without one; a refusal does not tell
//! whether its object exists.

use access::catalog::{Act, Caller, Object, TokenError};
use axum::http::{HeaderMap, StatusCode, header};
use tables::TableIdent;

use super::{Asked, Door};
use crate::http::errors::RestFault;

/// Whose request it is.
pub(super) fn of(door: &Door, headers: &HeaderMap) -> Result<Caller, RestFault> {
    if !door.access.catalog_needs_tokens() {
        return Ok(Caller::Anybody);
    }
    let token = bearer(headers).ok_or_else(|| {
        unauthorized("this catalog needs a token: POST /v1/oauth/tokens gives one for client id and secret")
    })?;
    door.access.caller_of(token, door.clock.now_ms()).map_err(|error| match error {
        // Clients renew a token when they read this name.
        TokenError::Expired => RestFault::new(
            StatusCode::from_u16(419).unwrap_or(StatusCode::UNAUTHORIZED),
            "AuthenticationTimeoutException",
            error.to_string(),
        ),
        TokenError::Foreign => unauthorized(&error.to_string()),
    })
}

fn unauthorized(message: &str) -> RestFault {
    RestFault::new(StatusCode::UNAUTHORIZED, "NotAuthorizedException", message)
}

/// The token in the header `Authorization`, when it is of that kind.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (kind, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    kind.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Asked {
    /// Refuses what the caller may not do.
    pub(super) fn may(&self, act: Act, object: Object<'_>) -> Result<(), RestFault> {
        if self.door.access.catalog_allows(&self.caller, act, object) {
            return Ok(());
        }
        Err(self.forbidden(&format!("{act:?}")))
    }

    pub(super) fn may_table(&self, act: Act, ident: &TableIdent) -> Result<(), RestFault> {
        self.may(act, Object::Table(&ident.namespace, &ident.name))
    }

    pub(super) fn may_view(&self, act: Act, ident: &TableIdent) -> Result<(), RestFault> {
        self.may(act, Object::View(&ident.namespace, &ident.name))
    }

    pub(super) fn may_in(&self, act: Act, namespace: &[String]) -> Result<(), RestFault> {
        self.may(act, Object::Namespace(namespace))
    }

    pub(super) fn forbidden(&self, act: &str) -> RestFault {
        let who = self.who();
        tracing::warn!(principal = who, act, path = self.uri.path(), "refused a request to the catalog");
        let message = format!("Principal '{who}' is not authorized for {act}");
        RestFault::new(StatusCode::FORBIDDEN, "ForbiddenException", message)
    }

    /// The caller's name.
    pub(super) fn who(&self) -> &str {
        match &self.caller {
            Caller::Anybody => "",
            Caller::Known { name, .. } => name,
        }
    }
}
