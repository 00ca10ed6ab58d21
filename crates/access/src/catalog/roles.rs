//! Principals, their roles and what the roles may do.
//!
//! Owns: the keys `catalog/…` of the space `access`, what of them is in memory, the decision.
//! Does not own: secrets, which are the passwords of the users of the same name.
//! Invariants: what is in memory is what is stored; a decision reads memory alone; everything has a bound.

use std::collections::{BTreeMap, BTreeSet};

use base::{ErrorKind, Fault};
use serde::{Deserialize, Serialize};
use storage::layout::ACCESS;
use storage::{Control, ControlError, ControlTx};

use super::privilege::{Act, GrantOn, Object, Privilege};
use crate::AccessError;
use crate::credential::random_bytes;

/// The one catalog of a node.
pub const CATALOG: &str = "frazil";
/// The first principal.
pub const ROOT: &str = "root";
/// The principal role that may do everything.
const SERVICE_ADMIN: &str = "service_admin";
/// The catalog role that the catalog begins with.
const CATALOG_ADMIN: &str = "catalog_admin";

/// Most principals, roles of either kind, and grants of one role.
const EACH_MAX: usize = 10_000;
const NAME_CHARS_MAX: usize = 256;
const PROPERTIES_MAX: usize = 100;

const PRINCIPAL: &str = "catalog/principal/";
const PRINCIPAL_ROLE: &str = "catalog/principal-role/";
const CATALOG_ROLE: &str = "catalog/catalog-role/";

/// Somebody with a client id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub client_id: String,
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Principal roles.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    pub created_ms: i64,
    pub version: u32,
}

/// A role that principals have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalRole {
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Catalog roles.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    pub created_ms: i64,
    pub version: u32,
}

/// A role that has privileges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRole {
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    #[serde(default)]
    pub grants: BTreeSet<Grant>,
    pub created_ms: i64,
    pub version: u32,
}

/// A privilege on something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    pub on: GrantOn,
    /// No levels on the catalog.
    pub namespace: Vec<String>,
    /// Of a table or view.
    pub name: Option<String>,
    pub privilege: Privilege,
}

impl Grant {
    /// Refuses what means nothing.
    pub fn check(&self) -> Result<(), RolesError> {
        let named = matches!(self.on, GrantOn::Table | GrantOn::View);
        let placed = self.on != GrantOn::Catalog;
        if named != self.name.is_some() || placed == self.namespace.is_empty() {
            return Err(RolesError::Invalid("a grant names exactly what its type is about".into()));
        }
        if !self.privilege.fits(self.on) {
            let (name, on) = (self.privilege.name(), self.on);
            return Err(RolesError::Invalid(format!("{name} cannot be granted on a {on:?}").to_lowercase()));
        }
        Ok(())
    }

    /// Whether it speaks of `object`: of that, or of what holds it.
    fn covers(&self, object: Object<'_>) -> bool {
        let holds = |namespace: &[String]| namespace.starts_with(&self.namespace);
        match (self.on, object) {
            (GrantOn::Catalog, _) => true,
            (GrantOn::Namespace, Object::Namespace(of) | Object::Table(of, _) | Object::View(of, _)) => {
                holds(of)
            }
            (GrantOn::Table, Object::Table(of, name)) | (GrantOn::View, Object::View(of, name)) => {
                of == self.namespace && self.name.as_deref() == Some(name)
            }
            _ => false,
        }
    }
}

/// Who makes a request to the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody has to say who they are.
    Anybody,
    Known {
        name: String,
        /// The principal roles that the token is limited to; all when none.
        only: Option<BTreeSet<String>>,
    },
}

/// A client id and the secret that goes with it, which is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    pub client_id: String,
    pub secret: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// A request about roles that cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    #[error("{0} {1} does not exist")]
    Missing(&'static str, String),
    #[error("{0} {1} already exists")]
    Exists(&'static str, String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0} cannot be taken away")]
    Permanent(&'static str),
    #[error("there are {EACH_MAX} of them at most")]
    TooMany,
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("cannot store it")]
    Control(#[from] ControlError),
}

impl Fault for RolesError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(..) => ErrorKind::NotFound,
            Self::Exists(..) | Self::TooMany => ErrorKind::Conflict,
            Self::Invalid(_) | Self::Permanent(_) => ErrorKind::Invalid,
            Self::Access(e) => e.kind(),
            Self::Control(e) => e.kind(),
        }
    }
}

/// All of it, as it is stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roles {
    pub(crate) principals: BTreeMap<String, Principal>,
    pub(crate) principal_roles: BTreeMap<String, PrincipalRole>,
    pub(crate) catalog_roles: BTreeMap<String, CatalogRole>,
}

impl Roles {
    /// Reads what is stored; what every catalog has is there in any case.
    pub(crate) fn load(control: &Control) -> Result<Self, ControlError> {
        let mut roles = Self {
            principals: named(control.scan_json(ACCESS, PRINCIPAL)?, PRINCIPAL),
            principal_roles: named(control.scan_json(ACCESS, PRINCIPAL_ROLE)?, PRINCIPAL_ROLE),
            catalog_roles: named(control.scan_json(ACCESS, CATALOG_ROLE)?, CATALOG_ROLE),
        };
        roles.principal_roles.entry(SERVICE_ADMIN.to_owned()).or_default();
        roles.catalog_roles.entry(CATALOG_ADMIN.to_owned()).or_insert_with(|| CatalogRole {
            grants: [Privilege::ManageAccess, Privilege::ManageContent]
                .map(|privilege| Grant { on: GrantOn::Catalog, namespace: Vec::new(), name: None, privilege })
                .into(),
            ..CatalogRole::default()
        });
        Ok(roles)
    }

    /// Stores what differs from `before`.
    pub(crate) fn store(&self, before: &Self, tx: &mut ControlTx) -> Result<(), ControlError> {
        store(tx, PRINCIPAL, &before.principals, &self.principals)?;
        store(tx, PRINCIPAL_ROLE, &before.principal_roles, &self.principal_roles)?;
        store(tx, CATALOG_ROLE, &before.catalog_roles, &self.catalog_roles)
    }

    /// Whether `caller` may do `act` to `object`.
    pub(crate) fn allow(&self, caller: &Caller, act: Act, object: Object<'_>) -> bool {
        let Caller::Known { name, only } = caller else { return true };
        let Some(principal) = self.principals.get(name) else { return false };
        let active = |role: &&String| only.as_ref().is_none_or(|only| only.contains(*role));
        let active: Vec<&String> = principal.roles.iter().filter(active).collect();
        if active.iter().any(|role| *role == SERVICE_ADMIN) {
            return true;
        }
        let roles = active.iter().filter_map(|role| self.principal_roles.get(*role));
        let catalog_roles: BTreeSet<&String> = roles.flat_map(|role| &role.roles).collect();
        let grants = || {
            catalog_roles
                .iter()
                .filter_map(|role| self.catalog_roles.get(*role))
                .flat_map(|role| &role.grants)
        };
        act.needs()
            .iter()
            .all(|needed| grants().any(|grant| grant.privilege.implies(*needed) && grant.covers(object)))
    }

    /// Whether `caller` may change principals and principal roles, which belong to no catalog.
    pub(crate) fn is_admin(&self, caller: &Caller) -> bool {
        let Caller::Known { name, only } = caller else { return true };
        let has = |principal: &Principal| principal.roles.contains(SERVICE_ADMIN);
        self.principals.get(name).is_some_and(has)
            && only.as_ref().is_none_or(|only| only.contains(SERVICE_ADMIN))
    }

    /// The principal with this client id. A user's name is as good.
    pub(crate) fn of_client(&self, client_id: &str) -> Option<&str> {
        let by_id = self.principals.iter().find(|(_, principal)| principal.client_id == client_id);
        by_id
            .map(|(name, _)| name.as_str())
            .or_else(|| self.principals.get_key_value(client_id).map(|(n, _)| n.as_str()))
    }

    pub(crate) fn add_principal(
        &mut self,
        name: &str,
        client_id: String,
        properties: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<(), RolesError> {
        check_name(name)?;
        check_properties(&properties)?;
        room(self.principals.len())?;
        if self.principals.contains_key(name) {
            return Err(RolesError::Exists("principal", name.to_owned()));
        }
        let roles = if name == ROOT { BTreeSet::from([SERVICE_ADMIN.to_owned()]) } else { BTreeSet::new() };
        let principal = Principal { client_id, properties, roles, created_ms: now_ms, version: 1 };
        self.principals.insert(name.to_owned(), principal);
        Ok(())
    }

    pub(crate) fn remove_principal(&mut self, name: &str) -> Result<(), RolesError> {
        if name == ROOT {
            return Err(RolesError::Permanent(ROOT));
        }
        let gone = self.principals.remove(name);
        gone.map(drop).ok_or_else(|| RolesError::Missing("principal", name.to_owned()))
    }

    pub(crate) fn principal_mut(&mut self, name: &str) -> Result<&mut Principal, RolesError> {
        let found = self.principals.get_mut(name);
        let found = found.ok_or_else(|| RolesError::Missing("principal", name.to_owned()))?;
        found.version += 1;
        Ok(found)
    }

    pub(crate) fn principal_role_mut(&mut self, name: &str) -> Result<&mut PrincipalRole, RolesError> {
        let found = self.principal_roles.get_mut(name);
        let found = found.ok_or_else(|| RolesError::Missing("principal role", name.to_owned()))?;
        found.version += 1;
        Ok(found)
    }

    pub(crate) fn catalog_role_mut(&mut self, name: &str) -> Result<&mut CatalogRole, RolesError> {
        let found = self.catalog_roles.get_mut(name);
        let found = found.ok_or_else(|| RolesError::Missing("catalog role", name.to_owned()))?;
        found.version += 1;
        Ok(found)
    }

    pub(crate) fn add_principal_role(
        &mut self,
        name: &str,
        properties: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<(), RolesError> {
        check_name(name)?;
        check_properties(&properties)?;
        room(self.principal_roles.len())?;
        if self.principal_roles.contains_key(name) {
            return Err(RolesError::Exists("principal role", name.to_owned()));
        }
        let role = PrincipalRole { properties, created_ms: now_ms, version: 1, ..PrincipalRole::default() };
        self.principal_roles.insert(name.to_owned(), role);
        Ok(())
    }

    pub(crate) fn add_catalog_role(
        &mut self,
        name: &str,
        properties: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<(), RolesError> {
        check_name(name)?;
        check_properties(&properties)?;
        room(self.catalog_roles.len())?;
        if self.catalog_roles.contains_key(name) {
            return Err(RolesError::Exists("catalog role", name.to_owned()));
        }
        let role = CatalogRole { properties, created_ms: now_ms, version: 1, ..CatalogRole::default() };
        self.catalog_roles.insert(name.to_owned(), role);
        Ok(())
    }

    pub(crate) fn remove_principal_role(&mut self, name: &str) -> Result<(), RolesError> {
        if name == SERVICE_ADMIN {
            return Err(RolesError::Permanent(SERVICE_ADMIN));
        }
        let gone = self.principal_roles.remove(name);
        gone.ok_or_else(|| RolesError::Missing("principal role", name.to_owned()))?;
        for principal in self.principals.values_mut() {
            principal.roles.remove(name);
        }
        Ok(())
    }

    pub(crate) fn remove_catalog_role(&mut self, name: &str) -> Result<(), RolesError> {
        if name == CATALOG_ADMIN {
            return Err(RolesError::Permanent(CATALOG_ADMIN));
        }
        let gone = self.catalog_roles.remove(name);
        gone.ok_or_else(|| RolesError::Missing("catalog role", name.to_owned()))?;
        for role in self.principal_roles.values_mut() {
            role.roles.remove(name);
        }
        Ok(())
    }

    /// Gives a principal a role, or takes it away.
    pub(crate) fn assign(&mut self, principal: &str, role: &str, has: bool) -> Result<(), RolesError> {
        if !self.principal_roles.contains_key(role) {
            return Err(RolesError::Missing("principal role", role.to_owned()));
        }
        if principal == ROOT && role == SERVICE_ADMIN && !has {
            return Err(RolesError::Permanent("service_admin of root"));
        }
        let roles = &mut self.principal_mut(principal)?.roles;
        if has {
            roles.insert(role.to_owned())
        } else {
            roles.remove(role)
        };
        Ok(())
    }

    /// Gives a principal role a catalog role, or takes it away.
    pub(crate) fn assign_catalog_role(
        &mut self,
        principal_role: &str,
        role: &str,
        has: bool,
    ) -> Result<(), RolesError> {
        if !self.catalog_roles.contains_key(role) {
            return Err(RolesError::Missing("catalog role", role.to_owned()));
        }
        let roles = &mut self.principal_role_mut(principal_role)?.roles;
        if has {
            roles.insert(role.to_owned())
        } else {
            roles.remove(role)
        };
        Ok(())
    }

    /// Gives a catalog role a privilege, or takes it away.
    pub(crate) fn grant(&mut self, role: &str, grant: Grant, has: bool) -> Result<(), RolesError> {
        grant.check()?;
        let grants = &mut self.catalog_role_mut(role)?.grants;
        if has {
            room(grants.len())?;
            grants.insert(grant);
        } else if !grants.remove(&grant) {
            return Err(RolesError::Missing("grant", grant.privilege.name().to_owned()));
        }
        Ok(())
    }
}

/// A client id that nobody has, as Polaris makes them.
pub(crate) fn new_client_id() -> Result<String, RolesError> {
    random_hex::<8>()
}

pub(crate) fn new_secret() -> Result<String, RolesError> {
    random_hex::<16>()
}

fn random_hex<const N: usize>() -> Result<String, RolesError> {
    let bytes = random_bytes::<N>().map_err(AccessError::from)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn room(count: usize) -> Result<(), RolesError> {
    if count >= EACH_MAX { Err(RolesError::TooMany) } else { Ok(()) }
}

fn check_name(name: &str) -> Result<(), RolesError> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(plain) {
        let shown: String = name.chars().take(64).collect();
        return Err(RolesError::Invalid(format!(
            "`{shown}` is no name: 1 to {NAME_CHARS_MAX} letters, digits, `-`, `_`, `.` and `@`"
        )));
    }
    Ok(())
}

fn check_properties(properties: &BTreeMap<String, String>) -> Result<(), RolesError> {
    if properties.len() > PROPERTIES_MAX || properties.iter().any(|(k, v)| k.len() + v.len() > 4_096) {
        return Err(RolesError::Invalid(format!(
            "at most {PROPERTIES_MAX} properties of 4096 bytes are kept"
        )));
    }
    Ok(())
}

fn named<T>(found: Vec<(String, T)>, prefix: &str) -> BTreeMap<String, T> {
    found.into_iter().map(|(key, value)| (key[prefix.len()..].to_owned(), value)).collect()
}

fn store<T: Serialize + PartialEq>(
    tx: &mut ControlTx,
    prefix: &str,
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
) -> Result<(), ControlError> {
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        tx.delete(ACCESS, &format!("{prefix}{name}"))?;
    }
    for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
        tx.put_json(ACCESS, &format!("{prefix}{name}"), value)?;
    }
    Ok(())
}
