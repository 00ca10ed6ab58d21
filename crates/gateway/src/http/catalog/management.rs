//! Polaris' management API: principals, roles and grants, under `/api/management/v1`.
//!
//! Owns: its paths and bodies.
//! Does not own: what is kept and decided (`access`).
//! Invariants: everything needs the principal role `service_admin`, or, inside the catalog, CATALOG_MANAGE_ACCESS; a secret
//! is in the one answer that makes it and nowhere else.

mod shown;

use std::collections::{BTreeMap, BTreeSet};

use access::Access;
use access::catalog::{Act, CATALOG, Grant, GrantOn, Issued, Object, Privilege, RolesError};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asked, answers, no_content, route};
use crate::http::blocking;
use crate::http::errors::{JSON, RestFault, json_response};

/// Below which path it is served.
pub(super) const ROOT: &str = "/api/management/v1/";

type Properties = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Entity {
    name: String,
    #[serde(default)]
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    properties: Properties,
}

#[derive(Deserialize)]
struct GrantBody {
    #[serde(rename = "type")]
    on: GrantOn,
    #[serde(default)]
    namespace: Vec<String>,
    #[serde(default, rename = "tableName")]
    table: Option<String>,
    #[serde(default, rename = "viewName")]
    view: Option<String>,
    privilege: Privilege,
}

impl GrantBody {
    fn grant(self) -> Grant {
        Grant {
            on: self.on,
            namespace: self.namespace,
            name: self.table.or(self.view),
            privilege: self.privilege,
        }
    }
}

/// Reads the value of the one field that a body has.
fn field<T: for<'de> Deserialize<'de>>(asked: &Asked, name: &str) -> Result<T, RestFault> {
    let mut body: Value = asked.body()?;
    // Some of Polaris' clients leave the wrapping out.
    let inner = if body.get(name).is_some() { body[name].take() } else { body };
    serde_json::from_value(inner).map_err(|e| RestFault::bad(format!("Malformed request: {name}: {e}")))
}

/// Answers a request below [`ROOT`].
pub(super) async fn answer(asked: &Asked) -> Answer {
    let path = asked.uri.path().strip_prefix(ROOT).unwrap_or_default();
    let segments: Result<Vec<String>, RestFault> =
        path.split('/').filter(|s| !s.is_empty()).map(route::decode).collect();
    let segments = segments?;
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let answered = match path.as_slice() {
        ["principals", rest @ ..] => principals(asked, rest).await?,
        ["principal-roles", rest @ ..] => principal_roles(asked, rest).await?,
        ["catalogs", rest @ ..] => catalogs(asked, rest).await?,
        _ => None,
    };
    answered.ok_or_else(|| {
        let what = format!("{} {} is not served here", asked.method, asked.uri.path());
        RestFault::new(StatusCode::NOT_FOUND, "NotFoundException", what)
    })
}

type Answered = Result<Option<Response>, RestFault>;

async fn principals(asked: &Asked, path: &[&str]) -> Answered {
    // Whoever knows a secret may change it.
    let own = matches!(path, [name, "rotate"] if *name == asked.who());
    if !own && !asked.door.access.is_catalog_admin(&asked.caller) {
        return Err(asked.forbidden("principals"));
    }
    let now = asked.door.clock.now_ms();
    let all = || asked.door.access.catalog_principals();
    let answer = match (asked.method.as_str(), path) {
        ("GET", []) => answers::ok(&json!({"principals": shown::principals(&all())})),
        ("POST", []) => {
            let Entity { name, properties } = field(asked, "principal")?;
            let issued = change(asked, move |access| {
                let issued = access.create_principal(&name, properties, now)?;
                Ok((name, issued))
            });
            let (name, issued) = issued.await?;
            secret(asked, StatusCode::CREATED, &name, &issued)
        }
        ("GET", [name]) => answers::ok(&found(shown::principal(&all(), name), "principal", name)?),
        ("PUT", [name]) => {
            let (of, Update { properties }) = ((*name).to_owned(), asked.body()?);
            change(asked, move |access| access.update_principal(&of, properties)).await?;
            answers::ok(&found(shown::principal(&all(), name), "principal", name)?)
        }
        ("DELETE", [name]) => {
            let name = (*name).to_owned();
            change(asked, move |access| access.drop_principal(&name)).await?;
            no_content()
        }
        ("POST", [name, "rotate" | "reset"]) => {
            let of = (*name).to_owned();
            let issued = change(asked, move |access| access.rotate_secret(&of)).await?;
            secret(asked, StatusCode::OK, name, &issued)
        }
        ("GET", [name, "principal-roles"]) => {
            let principals = all();
            let principal = found(principals.get(*name), "principal", name)?;
            roles(asked, &principal.roles)
        }
        ("PUT", [name, "principal-roles"]) => {
            let (of, Entity { name: role, .. }) = ((*name).to_owned(), field(asked, "principalRole")?);
            change(asked, move |access| access.assign_role(&of, &role, true)).await?;
            created()
        }
        ("DELETE", [name, "principal-roles", role]) => {
            let (of, role) = ((*name).to_owned(), (*role).to_owned());
            change(asked, move |access| access.assign_role(&of, &role, false)).await?;
            no_content()
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}

async fn principal_roles(asked: &Asked, path: &[&str]) -> Answered {
    let inside = matches!(path, [_, "catalog-roles", ..]);
    let admin = asked.door.access.is_catalog_admin(&asked.caller);
    if !admin && !(inside && asked.may(Act::ManageAccess, Object::Namespace(&[])).is_ok()) {
        return Err(asked.forbidden("principal roles"));
    }
    let (now, method) = (asked.door.clock.now_ms(), asked.method.as_str());
    let all = || asked.door.access.principal_roles();
    let answer = match (method, path) {
        ("GET", []) => answers::ok(&json!({"roles": shown::principal_roles(&all(), None)})),
        ("POST", []) => {
            let Entity { name, properties } = field(asked, "principalRole")?;
            let of = name.clone();
            change(asked, move |access| access.create_principal_role(&of, properties, now)).await?;
            made(&found(shown::principal_role(&all(), &name), "principal role", &name)?)
        }
        ("GET", [name]) => answers::ok(&found(shown::principal_role(&all(), name), "principal role", name)?),
        ("PUT", [name]) => {
            let (of, Update { properties }) = ((*name).to_owned(), asked.body()?);
            change(asked, move |access| access.update_principal_role(&of, properties)).await?;
            answers::ok(&found(shown::principal_role(&all(), name), "principal role", name)?)
        }
        ("DELETE", [name]) => {
            let name = (*name).to_owned();
            change(asked, move |access| access.drop_principal_role(&name)).await?;
            no_content()
        }
        ("GET", [name, "principals"]) => {
            let mut principals = asked.door.access.catalog_principals();
            principals.retain(|_, principal| principal.roles.contains(*name));
            answers::ok(&json!({"principals": shown::principals(&principals)}))
        }
        ("GET", [name, "catalog-roles", catalog]) => {
            the_catalog(catalog)?;
            let roles = all();
            let role = found(roles.get(*name), "principal role", name)?;
            let kept = asked.door.access.catalog_roles();
            answers::ok(&json!({"roles": shown::catalog_roles(&kept, Some(&role.roles))}))
        }
        ("PUT", [name, "catalog-roles", catalog]) => {
            the_catalog(catalog)?;
            let (of, Entity { name: role, .. }) = ((*name).to_owned(), field(asked, "catalogRole")?);
            change(asked, move |access| access.assign_catalog_role(&of, &role, true)).await?;
            created()
        }
        ("DELETE", [name, "catalog-roles", catalog, role]) => {
            the_catalog(catalog)?;
            let (of, role) = ((*name).to_owned(), (*role).to_owned());
            change(asked, move |access| access.assign_catalog_role(&of, &role, false)).await?;
            no_content()
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}

async fn catalogs(asked: &Asked, path: &[&str]) -> Answered {
    let admin = asked.door.access.is_catalog_admin(&asked.caller);
    if !admin {
        asked.may(Act::ManageAccess, Object::Namespace(&[]))?;
    }
    let root = asked.door.tables.objects().root().to_owned();
    let answer = match (asked.method.as_str(), path) {
        ("GET", []) => answers::ok(&json!({"catalogs": [shown::catalog(&root)]})),
        ("GET", [catalog]) => {
            the_catalog(catalog)?;
            answers::ok(&shown::catalog(&root))
        }
        (_, [catalog, "catalog-roles", rest @ ..]) => {
            the_catalog(catalog)?;
            return catalog_roles(asked, rest).await;
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}

async fn catalog_roles(asked: &Asked, path: &[&str]) -> Answered {
    let now = asked.door.clock.now_ms();
    let all = || asked.door.access.catalog_roles();
    let answer = match (asked.method.as_str(), path) {
        ("GET", []) => answers::ok(&json!({"roles": shown::catalog_roles(&all(), None)})),
        ("POST", []) => {
            let Entity { name, properties } = field(asked, "catalogRole")?;
            let of = name.clone();
            change(asked, move |access| access.create_catalog_role(&of, properties, now)).await?;
            made(&found(shown::catalog_role(&all(), &name), "catalog role", &name)?)
        }
        ("GET", [name]) => answers::ok(&found(shown::catalog_role(&all(), name), "catalog role", name)?),
        ("PUT", [name]) => {
            let (of, Update { properties }) = ((*name).to_owned(), asked.body()?);
            change(asked, move |access| access.update_catalog_role(&of, properties)).await?;
            answers::ok(&found(shown::catalog_role(&all(), name), "catalog role", name)?)
        }
        ("DELETE", [name]) => {
            let name = (*name).to_owned();
            change(asked, move |access| access.drop_catalog_role(&name)).await?;
            no_content()
        }
        ("GET", [name, "principal-roles"]) => {
            let mut roles = asked.door.access.principal_roles();
            roles.retain(|_, role| role.roles.contains(*name));
            answers::ok(&json!({"roles": shown::principal_roles(&roles, None)}))
        }
        ("GET", [name, "grants"]) => {
            let roles = all();
            let role = found(roles.get(*name), "catalog role", name)?;
            answers::ok(&json!({"grants": shown::grants(role)}))
        }
        ("PUT" | "POST", [name, "grants"]) => {
            let (of, body) = ((*name).to_owned(), field::<GrantBody>(asked, "grant")?);
            let has = asked.method == Method::PUT;
            change(asked, move |access| access.grant(&of, body.grant(), has)).await?;
            created()
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}

/// Carries out a change, which waits for the disk, and notes who made it.
async fn change<T: Send + 'static>(
    asked: &Asked,
    work: impl FnOnce(&Access) -> Result<T, RolesError> + Send + 'static,
) -> Result<T, RestFault> {
    let access = asked.door.access.clone();
    let done = blocking(move || work(&access)).await??;
    tracing::info!(principal = asked.who(), method = %asked.method, path = asked.uri.path(), "access was changed");
    Ok(done)
}

fn roles(asked: &Asked, names: &BTreeSet<String>) -> Answer {
    answers::ok(&json!({"roles": shown::principal_roles(&asked.door.access.principal_roles(), Some(names))}))
}

fn the_catalog(name: &str) -> Result<(), RestFault> {
    if name == CATALOG {
        return Ok(());
    }
    let message = format!("Catalog does not exist: {name}; this node has one, {CATALOG}");
    Err(RestFault::new(StatusCode::NOT_FOUND, "NotFoundException", message))
}

fn found<T>(found: Option<T>, what: &'static str, name: &str) -> Result<T, RestFault> {
    found.ok_or_else(|| RolesError::Missing(what, name.to_owned()).into())
}

fn created() -> Answer {
    Ok(json_response(StatusCode::CREATED, JSON, "{}".to_owned()))
}

fn made(entity: &Value) -> Answer {
    Ok(json_response(StatusCode::CREATED, JSON, entity.to_string()))
}

/// `PrincipalWithCredentials`.
fn secret(asked: &Asked, status: StatusCode, name: &str, issued: &Issued) -> Answer {
    let principal = shown::principal(&asked.door.access.catalog_principals(), name);
    let body = json!({
        "principal": principal,
        "credentials": {"clientId": issued.client_id, "clientSecret": issued.secret},
    });
    Ok(json_response(status, JSON, body.to_string()))
}
