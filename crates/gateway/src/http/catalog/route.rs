//! Paths of the Iceberg REST API.
//!
//! Owns: method, path and query → [`Route`].
//! Does not own: bodies, answers.

use axum::http::{Method, StatusCode, Uri};
use tables::TableIdent;

use crate::http::errors::RestFault;

/// Between the levels of a namespace in a path (`%1F`).
const LEVEL_SEPARATOR: char = '\u{1f}';
/// Most entries of one page.
const PAGE_MAX: usize = 10_000;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Config,
    /// A request for an access token.
    Tokens,
    Namespaces {
        parent: Vec<String>,
        page: Page,
    },
    CreateNamespace,
    Namespace(Vec<String>),
    NamespaceExists(Vec<String>),
    UpdateNamespace(Vec<String>),
    DropNamespace(Vec<String>),
    Tables {
        namespace: Vec<String>,
        page: Page,
    },
    CreateTable(Vec<String>),
    RegisterTable(Vec<String>),
    Table {
        ident: TableIdent,
        snapshots: Snapshots,
    },
    TableExists(TableIdent),
    CommitTable(TableIdent),
    DropTable {
        ident: TableIdent,
        purge: bool,
    },
    Metrics(TableIdent),
    RenameTable,
    Transaction,
    Views {
        namespace: Vec<String>,
        page: Page,
    },
    CreateView(Vec<String>),
    View(TableIdent),
    ViewExists(TableIdent),
    ReplaceView(TableIdent),
    DropView(TableIdent),
    RenameView,
}

/// A part of a list; without a token all of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// Present when the client reads page by page; empty at the beginning.
    pub(super) token: Option<String>,
    pub(super) size: Option<usize>,
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
        // Java's clients write blanks in names as `+`, and a plus as `%2B`.
        .map(|segment| decode(segment))
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
    if path == ["oauth", "tokens"] && *method == Method::POST {
        return Ok(Route::Tokens);
    }
    if path == ["config"] && *method == Method::GET {
        return Ok(Route::Config);
    }
    let found = match path.as_slice() {
        ["namespaces" | "tables" | "views" | "transactions", ..] => resource(method, uri, &path)?,
        [_prefix, rest @ ..] => resource(method, uri, rest)?,
        [] => None,
    };
    found.ok_or_else(|| unknown(method, uri))
}

fn resource(method: &Method, uri: &Uri, path: &[&str]) -> Result<Option<Route>, RestFault> {
    let route = match (method.as_str(), path) {
        ("POST", ["tables", "rename"]) => Route::RenameTable,
        ("POST", ["views", "rename"]) => Route::RenameView,
        ("POST", ["transactions", "commit"]) => Route::Transaction,
        ("GET", ["namespaces"]) => {
            let parent = query(uri, "parent")?.filter(|parent| !parent.is_empty());
            let parent = parent.map(|p| levels(&p)).transpose()?.unwrap_or_default();
            Route::Namespaces { parent, page: page(uri)? }
        }
        ("POST", ["namespaces"]) => Route::CreateNamespace,
        ("GET", ["namespaces", namespace]) => Route::Namespace(levels(namespace)?),
        ("HEAD", ["namespaces", namespace]) => Route::NamespaceExists(levels(namespace)?),
        ("DELETE", ["namespaces", namespace]) => Route::DropNamespace(levels(namespace)?),
        ("POST", ["namespaces", namespace, "properties"]) => Route::UpdateNamespace(levels(namespace)?),
        ("POST", ["namespaces", namespace, "register"]) => Route::RegisterTable(levels(namespace)?),
        (_, ["namespaces", namespace, "tables", rest @ ..]) => return table(method, uri, namespace, rest),
        (_, ["namespaces", namespace, "views", rest @ ..]) => return view(method, uri, namespace, rest),
        _ => return Ok(None),
    };
    Ok(Some(route))
}

fn table(method: &Method, uri: &Uri, namespace: &str, rest: &[&str]) -> Result<Option<Route>, RestFault> {
    let route = match (method.as_str(), rest) {
        ("GET", []) => Route::Tables { namespace: levels(namespace)?, page: page(uri)? },
        ("POST", []) => Route::CreateTable(levels(namespace)?),
        ("GET", [name]) => Route::Table { ident: ident(namespace, name)?, snapshots: snapshots(uri)? },
        ("HEAD", [name]) => Route::TableExists(ident(namespace, name)?),
        ("POST", [name]) => Route::CommitTable(ident(namespace, name)?),
        ("DELETE", [name]) => {
            let purge = query(uri, "purgeRequested")?;
            // PyIceberg writes `True` and `False`.
            let purge = match purge.as_deref().map(str::to_ascii_lowercase).as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(other) => return Err(bad(format!("purgeRequested=`{other}`: write true or false"))),
            };
            Route::DropTable { ident: ident(namespace, name)?, purge }
        }
        ("POST", [name, "metrics"]) => Route::Metrics(ident(namespace, name)?),
        _ => return Ok(None),
    };
    Ok(Some(route))
}

fn view(method: &Method, uri: &Uri, namespace: &str, rest: &[&str]) -> Result<Option<Route>, RestFault> {
    let route = match (method.as_str(), rest) {
        ("GET", []) => Route::Views { namespace: levels(namespace)?, page: page(uri)? },
        ("POST", []) => Route::CreateView(levels(namespace)?),
        ("GET", [name]) => Route::View(ident(namespace, name)?),
        ("HEAD", [name]) => Route::ViewExists(ident(namespace, name)?),
        ("POST", [name]) => Route::ReplaceView(ident(namespace, name)?),
        ("DELETE", [name]) => Route::DropView(ident(namespace, name)?),
        _ => return Ok(None),
    };
    Ok(Some(route))
}

fn page(uri: &Uri) -> Result<Page, RestFault> {
    let size = match query(uri, "pageSize")? {
        None => None,
        Some(text) => match text.parse::<usize>() {
            Ok(size) if size > 0 => Some(size.min(PAGE_MAX)),
            _ => return Err(bad(format!("pageSize=`{text}`: write a number from 1"))),
        },
    };
    Ok(Page { token: query(uri, "pageToken")?, size })
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
    for (key, value) in pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        if decode(key)? == name {
            return decode(value).map(Some);
        }
    }
    Ok(None)
}

/// Percent-decodes; `+` is a blank.
pub(super) fn decode(text: &str) -> Result<String, RestFault> {
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
            b'+' => bytes.push(b' '),
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
            assert_eq!(with(Method::POST, &format!("{base}/v1/oauth/tokens")), Ok(Route::Tokens));
            for prefix in ["", "/wh", "/namespaces"] {
                let tables = format!("{base}/v1{prefix}/namespaces/public/tables");
                if prefix == "/namespaces" {
                    continue;
                }
                let all = Route::Tables { namespace: vec!["public".into()], page: Page::default() };
                assert_eq!(get(&tables), Ok(all), "{tables}");
            }
        }
    }

    #[test]
    fn levels_and_escapes() {
        assert_eq!(get("/v1/namespaces/a%1Fb"), Ok(Route::Namespace(vec!["a".into(), "b".into()])));
        assert_eq!(
            get("/v1/namespaces?parent=a%1Fb"),
            Ok(Route::Namespaces { parent: vec!["a".into(), "b".into()], page: Page::default() })
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
    fn writes_and_pages() {
        let t = || ident_of(&["public"], "t");
        let page = Page { token: Some(String::new()), size: Some(3) };
        for (method, path, route) in [
            (Method::POST, "/v1/namespaces", Route::CreateNamespace),
            (
                Method::DELETE,
                "/v1/namespaces/public/tables/t?purgeRequested=True",
                Route::DropTable { ident: t(), purge: true },
            ),
            (Method::POST, "/v1/wh/namespaces/public/tables/t", Route::CommitTable(t())),
            (Method::POST, "/v1/transactions/commit", Route::Transaction),
            (Method::POST, "/v1/wh/tables/rename", Route::RenameTable),
            (Method::POST, "/v1/wh/namespaces/public/register", Route::RegisterTable(vec!["public".into()])),
            (
                Method::GET,
                "/v1/namespaces/public/views?pageToken=&pageSize=3",
                Route::Views { namespace: vec!["public".into()], page },
            ),
            (Method::POST, "/v1/namespaces/public/views/t", Route::ReplaceView(t())),
            (Method::GET, "/v1/namespaces/public/views/a+b", Route::View(ident_of(&["public"], "a b"))),
        ] {
            assert_eq!(with(method, path), Ok(route), "{path}");
        }
        for path in ["/v1/namespaces?pageSize=0", "/v1/namespaces?pageSize=x"] {
            assert_eq!(get(path).unwrap_err().0, StatusCode::BAD_REQUEST, "{path}");
        }
        for path in
            ["/", "/v1", "/v2/config", "/v1/namespaces/public/functions", "/v1/namespaces/public/tables/a/b"]
        {
            assert_eq!(get(path).unwrap_err().0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
