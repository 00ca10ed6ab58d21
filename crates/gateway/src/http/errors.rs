//! Errors of the HTTP doors: every error of the crates below, mapped in this one file.
//!
//! Owns: status codes, Confluent's `error_code`s, Iceberg's exception names, the admin door's kinds.
//! Does not own: the wording, which comes from the errors themselves.
//! Invariants: the maps are exhaustive, so that a new error below does not compile until it is mapped here.

use access::catalog::RolesError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base::{ErrorKind, Fault};
use pipelines::CommandError;
use schemas::RegistryError;
use serde_json::json;
use tables::{CatalogError, CommitError};

use super::Door;

/// Content type of registry answers.
pub(super) const REGISTRY_JSON: &str = "application/vnd.schemaregistry.v1+json";
/// Content type of all other answers.
pub(super) const JSON: &str = "application/json";

/// A response with a JSON body.
pub(super) fn json_response(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
}

/// A refusal that is the same for all doors (Host, size, time, a panic), in the door's own shape.
pub(super) fn refuse(door: Door, status: StatusCode, message: &str) -> Response {
    let defect = status.is_server_error();
    match door {
        Door::Registry => {
            let code = if defect { 50001 } else { i32::from(status.as_u16()) };
            RegistryFault::new(status, code, message).into_response()
        }
        Door::Catalog => {
            let exception = match status {
                StatusCode::FORBIDDEN => "ForbiddenException",
                _ if defect => "InternalServerError",
                _ => "BadRequestException",
            };
            RestFault::new(status, exception, message).into_response()
        }
        Door::Admin => {
            AdminFault::new(status, if defect { "internal" } else { "invalid" }, message).into_response()
        }
    }
}

fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict | ErrorKind::Fenced => StatusCode::CONFLICT,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error of the registry door: `{"error_code":40401,"message":"…"}`.
#[derive(Debug)]
pub(super) struct RegistryFault {
    status: StatusCode,
    code: i32,
    message: String,
}

impl RegistryFault {
    pub(super) fn new(status: StatusCode, code: i32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn not_found(code: i32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// Confluent's 422xx family.
    pub(super) fn invalid(code: i32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    fn of_kind(kind: ErrorKind, message: String) -> Self {
        let status = status_of(kind);
        // 50001 is Confluent's "error in the backend data store".
        let code = if status.is_server_error() { 50001 } else { i32::from(status.as_u16()) };
        Self::new(status, code, message)
    }
}

impl IntoResponse for RegistryFault {
    fn into_response(self) -> Response {
        let body = json!({"error_code": self.code, "message": self.message}).to_string();
        json_response(self.status, REGISTRY_JSON, body)
    }
}

impl From<RegistryError> for RegistryFault {
    fn from(error: RegistryError) -> Self {
        let message = base::fault::chain(&error);
        match error {
            RegistryError::SubjectNotFound(_) => Self::not_found(40401, message),
            RegistryError::ContextNotFound(_) => Self::not_found(404, message),
            RegistryError::Incompatible { .. } => Self::new(StatusCode::CONFLICT, 409, message),
            RegistryError::InvalidVersion(_) => Self::invalid(42202, message),
            RegistryError::NotPermitted { .. } => Self::invalid(42205, message),
            RegistryError::IdDoesNotMatch { .. } => Self::invalid(42207, message),
            RegistryError::ContextNotEmpty(_) => Self::invalid(42211, message),
            RegistryError::VersionNotFound { .. } => Self::not_found(40402, message),
            RegistryError::SchemaNotFound(_)
            | RegistryError::GuidNotFound(_)
            | RegistryError::SchemaNotRegistered { .. } => Self::not_found(40403, message),
            RegistryError::SoftDeleted { .. } => Self::not_found(40404, message),
            RegistryError::NotSoftDeleted { .. } => Self::not_found(40405, message),
            RegistryError::VersionSoftDeleted { .. } => Self::not_found(40406, message),
            RegistryError::VersionNotSoftDeleted { .. } => Self::not_found(40407, message),
            RegistryError::InvalidSchema { .. } => Self::invalid(42201, message),
            RegistryError::ReferenceExists { .. } => Self::invalid(42206, message),
            RegistryError::InvalidSubject { .. } => Self::invalid(42208, message),
            RegistryError::Control(e) => Self::of_kind(e.kind(), message),
        }
    }
}

impl From<CommandError> for RegistryFault {
    fn from(error: CommandError) -> Self {
        let (kind, message) = (error.kind(), base::fault::chain(&error));
        match error {
            CommandError::Registry(inner) => inner.into(),
            CommandError::Topic(_)
            | CommandError::Append(_)
            | CommandError::Read(_)
            | CommandError::DeleteRecords(_)
            | CommandError::Catalog(_)
            | CommandError::Commit(_)
            | CommandError::Spec(_)
            | CommandError::Invalid(_)
            | CommandError::NotFound(_)
            | CommandError::Conflict(_)
            | CommandError::Unavailable(_)
            | CommandError::Internal(_)
            | CommandError::Control(_) => match kind {
                // The schema is fine for the registry but not for a table that follows the subject.
                ErrorKind::Invalid => Self::invalid(42201, message),
                _ => Self::of_kind(kind, message),
            },
        }
    }
}

impl From<tokio::task::JoinError> for RegistryFault {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 50001, format!("the request failed: {error}"))
    }
}

/// An error of the Iceberg REST door: `{"error":{"message":"…","type":"NoSuchTableException","code":404}}`.
#[derive(Debug)]
pub(super) struct RestFault {
    status: StatusCode,
    exception: &'static str,
    message: String,
}

impl RestFault {
    pub(super) fn new(status: StatusCode, exception: &'static str, message: impl Into<String>) -> Self {
        Self { status, exception, message: message.into() }
    }

    /// A request that makes no sense.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    /// Java's clients tell what no server would take from what this one does not take.
    pub(super) fn as_illegal_argument(self) -> Self {
        match self.exception {
            "BadRequestException" => Self { exception: "IllegalArgumentException", ..self },
            _ => self,
        }
    }

    /// Whether the request was carried out before and its answer is noted.
    pub(super) fn is_replay(&self) -> bool {
        self.exception == REPLAYED
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for RestFault {
    fn into_response(self) -> Response {
        let body = json!({"error": {
            "message": self.message, "type": self.exception, "code": self.status.as_u16(),
        }});
        let mut response = json_response(self.status, JSON, body.to_string());
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"frazil\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<CatalogError> for RestFault {
    fn from(error: CatalogError) -> Self {
        let message = base::fault::chain(&error);
        let exception = match &error {
            CatalogError::NoSuchNamespace(_) => "NoSuchNamespaceException",
            CatalogError::NoSuchTable(_) => "NoSuchTableException",
            CatalogError::TableExists(_)
            | CatalogError::NamespaceExists(_)
            | CatalogError::ViewExists(_)
            | CatalogError::NameTaken(..)
            | CatalogError::RenameTaken(..) => "AlreadyExistsException",
            CatalogError::NoSuchView(_) => "NoSuchViewException",
            CatalogError::NamespaceNotEmpty(_) => "NamespaceNotEmptyException",
            CatalogError::Forbidden(_) => "ForbiddenException",
            CatalogError::Unprocessable(_) => "UnprocessableEntityException",
            CatalogError::Replayed => REPLAYED,
            CatalogError::Invalid(_) => "BadRequestException",
            CatalogError::Objects(_) | CatalogError::Control(_) | CatalogError::Format(_) => {
                match error.kind() {
                    ErrorKind::Unavailable => "ServiceUnavailableException",
                    ErrorKind::Invalid
                    | ErrorKind::NotFound
                    | ErrorKind::Conflict
                    | ErrorKind::Fenced
                    | ErrorKind::Corrupt
                    | ErrorKind::Internal => "InternalServerError",
                }
            }
        };
        let status = match (exception, error.kind()) {
            ("ForbiddenException", _) => StatusCode::FORBIDDEN,
            ("UnprocessableEntityException", _) => StatusCode::UNPROCESSABLE_ENTITY,
            // A missing file is not a missing table: clients must not take it for one.
            ("InternalServerError", _) => StatusCode::INTERNAL_SERVER_ERROR,
            (_, kind) => status_of(kind),
        };
        Self::new(status, exception, message)
    }
}

/// Stands for a request whose answer is noted; it never leaves the door.
const REPLAYED: &str = "Replayed";

impl From<RolesError> for RestFault {
    fn from(error: RolesError) -> Self {
        let message = base::fault::chain(&error);
        let status = status_of(error.kind());
        match error {
            RolesError::Missing(..) => Self::new(status, "NotFoundException", message),
            RolesError::Exists(..) | RolesError::TooMany => {
                Self::new(status, "AlreadyExistsException", message)
            }
            RolesError::Invalid(_) => Self::bad(message),
            RolesError::Permanent(_) => Self::new(StatusCode::FORBIDDEN, "ForbiddenException", message),
            RolesError::Access(_) | RolesError::Control(_) => match status {
                StatusCode::BAD_REQUEST => Self::bad(message),
                StatusCode::SERVICE_UNAVAILABLE => Self::new(status, "ServiceUnavailableException", message),
                _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message),
            },
        }
    }
}

impl From<CommitError> for RestFault {
    fn from(error: CommitError) -> Self {
        let message = base::fault::chain(&error);
        match error {
            CommitError::Catalog(inner) => {
                let fault = Self::from(inner);
                match fault.status {
                    // Of a commit that failed on the way nobody knows whether it was made. Clients take 503 for "not".
                    StatusCode::SERVICE_UNAVAILABLE => Self::unknown(message),
                    _ => fault,
                }
            }
            CommitError::RequirementFailed(_)
            | CommitError::Fenced { .. }
            | CommitError::Gap { .. }
            | CommitError::Diverged { .. }
            | CommitError::RolledBack { .. } => {
                Self::new(StatusCode::CONFLICT, "CommitFailedException", message)
            }
            CommitError::Invalid(_) => Self::bad(message),
            CommitError::Unknown { .. } => Self::unknown(message),
        }
    }
}

impl RestFault {
    fn unknown(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "CommitStateUnknownException", message)
    }
}

impl From<tokio::task::JoinError> for RestFault {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            format!("the request failed: {error}"),
        )
    }
}

/// An error of the admin door: `{"error":{"kind":"not_found","message":"…"}}`.
#[derive(Debug)]
pub(super) struct AdminFault {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl AdminFault {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
}

impl IntoResponse for AdminFault {
    fn into_response(self) -> Response {
        let body = json!({"error": {"kind": self.kind, "message": self.message}}).to_string();
        json_response(self.status, JSON, body)
    }
}

impl From<CommandError> for AdminFault {
    fn from(error: CommandError) -> Self {
        let kind = error.kind();
        let word = match kind {
            ErrorKind::Invalid => "invalid",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Fenced => "fenced",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Internal => "internal",
        };
        Self::new(status_of(kind), word, base::fault::chain(&error))
    }
}
