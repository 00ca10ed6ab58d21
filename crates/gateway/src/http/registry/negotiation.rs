//! Content types: which one a client sends, which one it wants.
//!
//! Owns: the registry's media types.
//! Source: Confluent's `Versions`: `application/vnd.schemaregistry.v1+json` before
//! `application/vnd.schemaregistry+json` before `application/json`.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::errors::{JSON, REGISTRY_JSON, RegistryFault};

/// What is answered with, best first.
const GIVEN: [&str; 3] = [REGISTRY_JSON, "application/vnd.schemaregistry+json", JSON];
/// What is taken beside that.
const OCTETS: &str = "application/octet-stream";

/// Refuses what is sent or wanted in another form, and answers in the wanted one.
pub(super) async fn negotiate(request: Request, next: Next) -> Response {
    let Some(wanted) = wanted(request.headers()) else {
        return RegistryFault::new(StatusCode::NOT_ACCEPTABLE, 406, "HTTP 406 Not Acceptable")
            .into_response();
    };
    if matches!(*request.method(), Method::POST | Method::PUT) && !is_taken(request.headers()) {
        let message = "HTTP 415 Unsupported Media Type: send application/vnd.schemaregistry.v1+json or application/json";
        return RegistryFault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 415, message).into_response();
    }
    let mut response = next.run(request).await;
    if let Some(content_type) = response.headers_mut().get_mut(header::CONTENT_TYPE)
        && content_type == REGISTRY_JSON
    {
        *content_type = HeaderValue::from_static(wanted);
    }
    response
}

fn is_taken(headers: &HeaderMap) -> bool {
    let Some(sent) = headers.get(header::CONTENT_TYPE) else { return true };
    let sent = sent.to_str().unwrap_or_default();
    let bare = sent.split(';').next().unwrap_or_default().trim();
    GIVEN.iter().chain([&OCTETS]).any(|taken| bare.eq_ignore_ascii_case(taken))
}

/// The best form for a client; the first one when it does not care.
fn wanted(headers: &HeaderMap) -> Option<&'static str> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        ranges.extend(value.to_str().unwrap_or_default().split(',').filter_map(range));
    }
    if ranges.is_empty() {
        return Some(GIVEN[0]);
    }
    let quality = |given: &str| {
        let exact = ranges.iter().filter(|(range, _)| range.eq_ignore_ascii_case(given)).map(|(_, q)| *q);
        let family = || ranges.iter().filter(|(range, _)| range.eq_ignore_ascii_case("application/*"));
        let any = || ranges.iter().filter(|(range, _)| range == "*/*" || range == "*");
        exact.max().or_else(|| family().map(|(_, q)| *q).max()).or_else(|| any().map(|(_, q)| *q).max())
    };
    let best = GIVEN.iter().filter_map(|given| Some((quality(given).filter(|q| *q > 0)?, *given)));
    // Of equals the first one is the better one.
    best.rev().max_by_key(|(quality, _)| *quality).map(|(_, given)| given)
}

/// A media range and its quality in thousandths.
fn range(text: &str) -> Option<(String, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?.to_owned();
    let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse::<f64>().ok());
    Some((range, (quality.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_form_is_found() {
        for (accept, expected) in [
            ("", Some(REGISTRY_JSON)),
            ("*/*", Some(REGISTRY_JSON)),
            ("application/json", Some(JSON)),
            ("application/json, application/vnd.schemaregistry.v1+json", Some(REGISTRY_JSON)),
            ("application/vnd.schemaregistry.v1+json;q=0.2, application/json;q=0.9", Some(JSON)),
            ("application/vnd.schemaregistry+json; q=0.9, application/json; q=0.5", Some(GIVEN[1])),
            ("text/html, */*;q=0.1", Some(REGISTRY_JSON)),
            ("text/html", None),
            ("application/json;q=0", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wanted(&headers), expected, "{accept}");
        }
    }
}
