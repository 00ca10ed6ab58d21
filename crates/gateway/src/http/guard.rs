//! What every request passes before its route: the Host check and the limits of bodies.
//!
//! Owns: the DNS-rebinding guard; reading a body completely, within size and time.
//! Does not own: limits of heads (`server`).
//! Invariants: a route sees only complete bodies of at most [`BODY_BYTES_MAX`]; large bodies in memory are bounded over
//! all connections.

use std::net::{IpAddr, Ipv6Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use futures::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Door, errors};
use crate::Listen;
use crate::admission::Limits;

/// Largest request body of an HTTP door, bytes: schemas and definitions are far smaller.
const BODY_BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
struct Guard {
    door: Door,
    /// Set on loopback listeners: the extra name that clients are told to use.
    loopback_name: Option<String>,
    body_bytes_max: usize,
    body_timeout: Duration,
    /// One permit per KiB of the bodies in memory, all connections of the door together.
    in_flight: Semaphore,
}

/// Bodies up to this size are not counted.
const SMALL_BYTES: u64 = 64 << 10;
/// Unit of the count of bytes in flight.
const PERMIT_BYTES: u64 = 1 << 10;

/// Puts the guard around a door's routes.
pub(super) fn guarded(door: Door, routes: Router, listen: &Listen, limits: &Limits) -> Router {
    let guard = Arc::new(Guard {
        door,
        loopback_name: listen.addr.ip().is_loopback().then(|| listen.advertised_host.clone()),
        body_bytes_max: limits.request_bytes_max.min(BODY_BYTES_MAX),
        body_timeout: limits.request_timeout,
        // At least one body of the largest size must fit.
        in_flight: Semaphore::new(limits.in_flight_bytes_max.max(BODY_BYTES_MAX) / PERMIT_BYTES as usize),
    });
    routes.layer(from_fn(move |request: Request, next: Next| {
        let guard = Arc::clone(&guard);
        async move { guard.pass(request, next).await }
    }))
}

impl Guard {
    async fn pass(&self, request: Request, next: Next) -> Response {
        if let Some(advertised) = &self.loopback_name
            && let Err(host) = check_host(&request, advertised)
        {
            let message = format!(
                "Host `{host}` is no name of this machine: this door listens on loopback only and answers to localhost and IP addresses"
            );
            tracing::warn!(door = self.door.name(), %host, "refused a request for a foreign host name");
            return errors::refuse(self.door, StatusCode::FORBIDDEN, &message);
        }
        let (head, body) = request.into_parts();
        match tokio::time::timeout(self.body_timeout, self.read(body)).await {
            Ok(Ok((bytes, _in_flight))) => {
                let answering = next.run(Request::from_parts(head, Body::from(bytes)));
                AssertUnwindSafe(answering).catch_unwind().await.unwrap_or_else(|_| {
                    let message = "internal error: this is a defect; the log has more";
                    closing(errors::refuse(self.door, StatusCode::INTERNAL_SERVER_ERROR, message))
                })
            }
            Ok(Err(error)) => {
                let message = format!(
                    "the request body is incomplete or larger than {} bytes: {error}",
                    self.body_bytes_max
                );
                closing(errors::refuse(self.door, StatusCode::PAYLOAD_TOO_LARGE, &message))
            }
            Err(_) => {
                let message = format!("the request body took longer than {:?}", self.body_timeout);
                closing(errors::refuse(self.door, StatusCode::REQUEST_TIMEOUT, &message))
            }
        }
    }
}

impl Guard {
    async fn read(&self, body: Body) -> Result<(Bytes, Option<SemaphorePermit<'_>>), axum::Error> {
        let most = body.size_hint().upper().unwrap_or(u64::MAX).min(self.body_bytes_max as u64);
        let permit = match most {
            0..=SMALL_BYTES => None,
            // The semaphore is never closed.
            _ => self.in_flight.acquire_many(most.div_ceil(PERMIT_BYTES) as u32).await.ok(),
        };
        Ok((to_bytes(body, self.body_bytes_max).await?, permit))
    }
}

/// The rest of the body was not read: the connection cannot carry another request.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

/// A web page can point its own name at 127.0.0.1 and then talk to us from the user's browser; its requests bear that
/// name. Ours bear `localhost`, an address or the advertised name. Clients of HTTP/1.0 without Host are no browsers.
fn check_host(request: &Request, advertised: &str) -> Result<(), String> {
    let from_header = match request.headers().get(header::HOST) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| "(not text)".to_owned())?),
    };
    let Some(authority) = request.uri().authority().map(|a| a.as_str()).or(from_header) else {
        return Ok(());
    };
    let host = host_of(authority);
    let local = host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host.eq_ignore_ascii_case(advertised)
        || host.parse::<IpAddr>().is_ok()
        || host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .is_some_and(|h| h.parse::<Ipv6Addr>().is_ok());
    if local { Ok(()) } else { Err(host.chars().take(100).collect()) }
}

/// `localhost:8080` → `localhost`, `[::1]:80` → `[::1]`.
fn host_of(authority: &str) -> &str {
    if let Some(end) = authority.find(']') {
        return &authority[..=end];
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}
