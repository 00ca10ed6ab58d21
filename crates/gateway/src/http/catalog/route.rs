//! Paths of the Iceberg REST API.
//!
//! Owns: path and query → [`Route`]; which requests are refused because they write.
//! Does not own: answers.

use axum::http::{Method, StatusCode, Uri};
use tables::TableIdent;

use crate::http::errors::RestFault;

/// Between the levels of a namespace in a path (`%1F`).
const LEVEL_SEPARATOR: char = '\u{1f}';

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Config,
    Namespaces { parent: Vec<String> },
    Namespace(Vec<String>),
    NamespaceExists(Vec<String>),
    Tables(Vec<String>),
    Table { ident: TableIdent, snapshots: Snapshots },
    TableExists(TableIdent),
}

/// Which snapshots a loaded table lists (`?snapshots=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Snapshots {
    All,
    Refs,
}

impl Snapshots {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Refs => "refs",
        }
    }
}

/// Reads method, path and query.
pub(super) fn parse(method: &Method, uri: &Uri) -> Result<Route, RestFault> {
    let segments = uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| decode(segment, false))
        .collect::<Result<Vec<_>, _>>()?;
    let mut path: Vec<&str> = segments.iter().map(String::as_str).collect();
    if path.starts_with(&["api", "catalog"]) {
        path.drain(..2);
    } else if path.starts_with(&["catalog"]) {
        path.drain(..1);
    }
    if path.first() != Some(&"v1") {
        return Err(unknown(method, uri));
    }
    path.drain(..1);
    if path == ["config"] && *method == Method::GET {
        return Ok(Route::Config);
    }
    // What is not about namespaces has no prefix-free form that we serve.
    let resource = match path.as_slice() {
        ["namespaces", rest @ ..] => rest,
        [_prefix, "namespaces", rest @ ..] => rest,
        _ => return Err(elsewhere(method, uri)),
    };
    namespaces(method, uri, resource)
}

fn namespaces(method: &Method, uri: &Uri, resource: &[&str]) -> Result<Route, RestFault> {
    let writes = *method != Method::GET && *method != Method::HEAD;
    match (method.as_str(), resource) {
        ("GET", []) => {
            let parent = query(uri, "parent")?.map(|p| levels(&p)).transpose()?.unwrap_or_default();
            Ok(Route::Namespaces { parent })
        }
        ("GET", [namespace]) => Ok(Route::Namespace(levels(namespace)?)),
        ("HEAD", [namespace]) => Ok(Route::NamespaceExists(levels(namespace)?)),
        ("GET", [namespace, "tables"]) => Ok(Route::Tables(levels(namespace)?)),
        ("GET", [namespace, "tables", name]) => {
            Ok(Route::Table { ident: ident(namespace, name)?, snapshots: snapshots(uri)? })
        }
        ("HEAD", [namespace, "tables", name]) => Ok(Route::TableExists(ident(namespace, name)?)),
        _ if writes => Err(RestFault::read_only(&format!("{method} {}", uri.path()))),
        _ => Err(unknown(method, uri)),
    }
}

/// Requests outside namespaces: writing ones are refused by name, so that the user learns why.
fn elsewhere(method: &Method, uri: &Uri) -> RestFault {
    let path = uri.path();
    let writes = ["/tables/rename", "/views/rename", "/transactions/commit", "/register"];
    if *method == Method::POST && writes.iter().any(|end| path.ends_with(end)) {
        return RestFault::read_only(&format!("{method} {path}"));
    }
    unknown(method, uri)
}

fn unknown(method: &Method, uri: &Uri) -> RestFault {
    let message = format!("{method} {} is not served here; GET /v1/config lists what is", uri.path());
    RestFault::new(StatusCode::NOT_FOUND, "NotFoundException", message)
}

fn bad(message: String) -> RestFault {
    RestFault::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
}

fn ident(namespace: &str, name: &str) -> Result<TableIdent, RestFault> {
    Ok(TableIdent { namespace: levels(namespace)?, name: name.to_owned() })
}

fn levels(namespace: &str) -> Result<Vec<String>, RestFault> {
    let levels: Vec<String> = namespace.split(LEVEL_SEPARATOR).map(str::to_owned).collect();
    if levels.iter().any(String::is_empty) {
        return Err(bad("a namespace has an empty level".into()));
    }
    Ok(levels)
}

fn snapshots(uri: &Uri) -> Result<Snapshots, RestFault> {
    match query(uri, "snapshots")?.as_deref() {
        None | Some("all") => Ok(Snapshots::All),
        Some("refs") => Ok(Snapshots::Refs),
        Some(other) => Err(bad(format!("snapshots=`{other}`: write all or refs"))),
    }
}

/// The first value of a query parameter.
fn query(uri: &Uri, name: &str) -> Result<Option<String>, RestFault> {
    let pairs = uri.query().unwrap_or_default().split('&');
    for (key, value) in pairs.filter_map(|pair| pair.split_once('=')) {
        if decode(key, true)? == name {
            return decode(value, true).map(Some);
        }
    }
    Ok(None)
}

/// Percent-decodes; in queries `+` is a blank.
fn decode(text: &str, form: bool) -> Result<String, RestFault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let pair = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                let byte = pair
                    .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok())
                    .ok_or_else(|| bad(format!("`{text}` has a broken percent escape")))?;
                bytes.push(byte);
                rest = &tail[2..];
            }
            b'+' if form => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| bad(format!("`{text}` is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Result<Route, (StatusCode, String)> {
        with(Method::GET, path)
    }

    fn with(method: Method, path: &str) -> Result<Route, (StatusCode, String)> {
        parse(&method, &path.parse().unwrap()).map_err(|fault| (fault.status(), format!("{fault:?}")))
    }

    fn ident_of(namespace: &[&str], name: &str) -> TableIdent {
        TableIdent { namespace: namespace.iter().map(|s| s.to_string()).collect(), name: name.into() }
    }

    #[test]
    fn every_base_path_and_prefix() {
        for base in ["", "/catalog", "/api/catalog"] {
            assert_eq!(get(&format!("{base}/v1/config?warehouse=w")), Ok(Route::Config));
            for prefix in ["", "/wh", "/namespaces"] {
                let tables = format!("{base}/v1{prefix}/namespaces/public/tables");
                if prefix == "/namespaces" {
                    continue;
                }
                assert_eq!(get(&tables), Ok(Route::Tables(vec!["public".into()])), "{tables}");
            }
        }
    }

    #[test]
    fn levels_and_escapes() {
        assert_eq!(get("/v1/namespaces/a%1Fb"), Ok(Route::Namespace(vec!["a".into(), "b".into()])));
        assert_eq!(
            get("/v1/namespaces?parent=a%1Fb"),
            Ok(Route::Namespaces { parent: vec!["a".into(), "b".into()] })
        );
        assert_eq!(
            get("/v1/namespaces/public/tables/trades~dlq?snapshots=refs"),
            Ok(Route::Table { ident: ident_of(&["public"], "trades~dlq"), snapshots: Snapshots::Refs })
        );
        assert_eq!(
            with(Method::HEAD, "/v1/namespaces/public/tables/caf%C3%A9"),
            Ok(Route::TableExists(ident_of(&["public"], "café")))
        );
        for broken in ["/v1/namespaces/%zz", "/v1/namespaces/%1", "/v1/namespaces/%ff", "/v1/namespaces/a%1F"]
        {
            assert_eq!(get(broken).unwrap_err().0, StatusCode::BAD_REQUEST, "{broken}");
        }
    }

    #[test]
    fn writes_are_refused_and_the_rest_is_unknown() {
        for (method, path) in [
            (Method::POST, "/v1/namespaces"),
            (Method::DELETE, "/v1/namespaces/public/tables/t?purgeRequested=False"),
            (Method::POST, "/v1/wh/namespaces/public/tables/t"),
            (Method::POST, "/v1/transactions/commit"),
            (Method::POST, "/v1/wh/tables/rename"),
        ] {
            let (status, text) = with(method, path).unwrap_err();
            assert_eq!(status, StatusCode::NOT_ACCEPTABLE, "{path}");
            assert!(text.contains("read-only"), "{text}");
        }
        for path in
            ["/", "/v1", "/v2/config", "/v1/namespaces/public/views", "/v1/namespaces/public/tables/a/b"]
        {
            assert_eq!(get(path).unwrap_err().0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
