//! The HTTP doors: registry, catalog, admin.

use anyhow::{Context, bail};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{CONNECT_LIMIT, Remote, Unreachable, innermost};

/// A client of the HTTP doors.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    remote: Remote,
}

impl Http {
    pub fn new(remote: &Remote) -> anyhow::Result<Self> {
        // A proxy of the environment has no business with a node on this machine.
        let client = Client::builder().connect_timeout(CONNECT_LIMIT).no_proxy().build()?;
        Ok(Self { client, remote: remote.clone() })
    }

    /// Registers a JSON schema and returns its id.
    pub async fn register(&self, subject: &str, schema: &str) -> anyhow::Result<i64> {
        let path = format!("/subjects/{}/versions", segment(subject));
        let body = json!({"schemaType": "JSON", "schema": schema});
        let answer = self.registry(Method::POST, &path, Some(body)).await?;
        answer["id"].as_i64().with_context(|| format!("the registry answered without an id: {answer}"))
    }

    /// A request to the schema registry.
    pub async fn registry(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.remote.registry);
        let mut request = self.client.request(method, &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        ask("the schema registry", &url, request).await
    }

    /// What the node says about itself.
    pub async fn status(&self) -> anyhow::Result<Value> {
        self.admin(Method::GET, "/v1/status", None).await
    }

    /// Commits what a topic has; the snapshot's id, if there is one.
    pub async fn commit(&self, topic: &str) -> anyhow::Result<Option<i64>> {
        let path = format!("/v1/tables/{}/commit", segment(topic));
        Ok(self.admin(Method::POST, &path, None).await?["snapshot_id"].as_i64())
    }

    /// Accounts for every offset of a table.
    pub async fn verify(&self, table: &str) -> anyhow::Result<Value> {
        self.admin(Method::POST, &format!("/v1/tables/{}/verify", segment(table)), None).await
    }

    /// Does what the action (`pipelines::TableAction`) says to a table.
    pub async fn maintain(&self, table: &str, action: &Value) -> anyhow::Result<Value> {
        let path = format!("/v1/tables/{}/maintenance", segment(table));
        self.admin(Method::POST, &path, Some(action.clone())).await
    }

    /// Lets a stopped table go on.
    pub async fn resume(&self, table: &str, mode: &str) -> anyhow::Result<()> {
        let path = format!("/v1/tables/{}/resume", segment(table));
        self.admin(Method::POST, &path, Some(json!({"mode": mode}))).await.map(|_| ())
    }

    /// All pipelines with their definitions.
    pub async fn pipelines(&self) -> anyhow::Result<Value> {
        self.admin(Method::GET, "/v1/pipelines", None).await
    }

    /// Stores and starts a pipeline.
    pub async fn put_pipeline(&self, name: &str, spec: &pipelines::PipelineSpec) -> anyhow::Result<()> {
        let path = format!("/v1/pipelines/{}", segment(name));
        self.admin(Method::PUT, &path, Some(serde_json::to_value(spec)?)).await.map(|_| ())
    }

    /// Stops and forgets a pipeline.
    pub async fn delete_pipeline(&self, name: &str) -> anyhow::Result<()> {
        let path = format!("/v1/pipelines/{}", segment(name));
        self.admin(Method::DELETE, &path, None).await.map(|_| ())
    }

    /// All tables: namespace (levels joined by dots) and name.
    pub async fn tables(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut tables = Vec::new();
        for namespace in self.pages("/v1/namespaces", "namespaces").await? {
            let levels = strings(&namespace);
            let path = format!("/v1/namespaces/{}/tables", segment(&levels.join("\u{1f}")));
            for ident in self.pages(&path, "identifiers").await? {
                let name = ident["name"].as_str().unwrap_or_default().to_owned();
                tables.push((levels.join("."), name));
            }
        }
        Ok(tables)
    }

    /// What loading a table answers (`LoadTableResult` of the Iceberg REST specification).
    pub async fn table(&self, namespace: &str, name: &str) -> anyhow::Result<Value> {
        let levels = namespace.split('.').collect::<Vec<_>>().join("\u{1f}");
        let path = format!("/v1/namespaces/{}/tables/{}", segment(&levels), segment(name));
        self.catalog(&path).await
    }

    /// Follows `next-page-token` through a listing.
    async fn pages(&self, path: &str, field: &str) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let page = match token.as_str() {
                "" => self.catalog(path).await?,
                token => self.catalog(&format!("{path}?pageToken={}", segment(token))).await?,
            };
            found.extend(page[field].as_array().cloned().unwrap_or_default());
            match page["next-page-token"].as_str() {
                Some(next) if !next.is_empty() && next != token => token = next.to_owned(),
                _ => return Ok(found),
            }
        }
    }

    async fn catalog(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.remote.catalog);
        ask("the Iceberg REST catalog", &url, self.client.get(&url)).await
    }

    async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.remote.admin);
        let mut request = self.client.request(method, &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        ask("the node", &url, request).await
    }
}

async fn ask(what: &'static str, url: &str, request: RequestBuilder) -> anyhow::Result<Value> {
    let answer = request.send().await.map_err(|error| {
        if error.is_connect() || error.is_timeout() {
            let reason = innermost(&error);
            anyhow::Error::new(Unreachable { what, address: url.to_owned(), reason })
        } else {
            anyhow::Error::new(error).context(format!("asking {what}"))
        }
    })?;
    let status = answer.status();
    let text = answer.text().await.with_context(|| format!("reading the answer of {url}"))?;
    if status == StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if !status.is_success() {
        bail!("{}", reason(status, &body, &text));
    }
    Ok(body)
}

/// Each door words its errors in its own protocol's form.
fn reason(status: StatusCode, body: &Value, text: &str) -> String {
    let error = &body["error"];
    let message = [&error["message"], &body["message"], error].into_iter().find_map(Value::as_str);
    let hint = [&error["hint"], &body["hint"]].into_iter().find_map(Value::as_str);
    match (message, hint) {
        (Some(message), Some(hint)) => format!("{message}\nhint: {hint}"),
        (Some(message), None) => message.to_owned(),
        (None, _) => format!("{status}: {}", text.chars().take(400).collect::<String>()),
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A name as a segment of a path: everything but letters, digits and `-._~` as `%XX` (RFC 3986).
pub(crate) fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(segment("trades~dlq"), "trades~dlq");
        assert_eq!(segment("a/b?c d\u{1f}ä"), "a%2Fb%3Fc%20d%1F%C3%A4");
    }

    #[test]
    fn errors_of_every_door_are_read() {
        let iceberg = json!({"error": {"message": "Table does not exist: public.x", "code": 404}});
        let registry = json!({"error_code": 40401, "message": "Subject 'x' not found."});
        let admin = json!({"error": "there is no pipeline x"});
        for (body, want) in [
            (iceberg, "Table does not exist: public.x"),
            (registry, "Subject 'x' not found."),
            (admin, "there is no pipeline x"),
        ] {
            assert_eq!(reason(StatusCode::NOT_FOUND, &body, ""), want);
        }
        assert!(reason(StatusCode::BAD_GATEWAY, &Value::Null, "<html>").contains("502"));
    }
}
