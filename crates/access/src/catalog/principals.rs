//! The catalog's side of [`Access`]: who is who, who may what, changes of either.
//!
//! Owns: issuing and reading tokens; the order in which a change is made durable and then holds.
//! Does not own: the decision itself (`roles`), a token's form (`token`).

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::privilege::{Act, Object};
use super::roles::{
    Caller, CatalogRole, Grant, Issued, Principal, PrincipalRole, ROOT, Roles, RolesError, new_client_id,
    new_secret,
};
use super::token::{Token, TokenError};
use crate::store::CredentialChange;
use crate::{Access, Mechanism};

/// How long a token holds, seconds.
const TOKEN_SECONDS: i64 = 3_600;
/// In a scope, before the name of a principal role.
const SCOPE: &str = "PRINCIPAL_ROLE:";
const ALL_ROLES: &str = "ALL";
const SCOPES_MAX: usize = 100;

impl Access {
    /// Whether requests to the catalog need a token.
    pub fn catalog_needs_tokens(&self) -> bool {
        self.0.settings.catalog_tokens
    }

    /// Makes `root` when there is none, or gives it `secret`; gives the secret that was made up, to be shown once.
    pub fn bootstrap_root(&self, secret: Option<&str>, now_ms: i64) -> Result<Option<Issued>, RolesError> {
        let known = self.0.state.read().roles.principals.contains_key(ROOT);
        if known && secret.is_none() {
            return Ok(None);
        }
        let made_up = if secret.is_none() { Some(new_secret()?) } else { None };
        // The secret first: a root without one could never come in, and would not be made again.
        if let Some(secret) = secret.or(made_up.as_deref()) {
            self.provide_user(ROOT, secret)?;
        }
        if !known {
            self.change_roles(|roles| roles.add_principal(ROOT, ROOT.to_owned(), BTreeMap::new(), now_ms))?;
        }
        Ok(made_up.map(|secret| Issued { client_id: ROOT.to_owned(), secret }))
    }

    /// A token for whoever knows the secret of `client_id`; none when it does not fit. Takes milliseconds of processor
    /// time, for those who do not exist as well. The error says what is wrong with the scope.
    pub fn issue_token(
        &self,
        client_id: &str,
        secret: &str,
        scope: &str,
        now_ms: i64,
    ) -> Result<Option<(String, i64)>, RolesError> {
        let name = self.0.state.read().roles.of_client(client_id).map(str::to_owned);
        let fits = self.password_fits(name.as_deref().unwrap_or(client_id), secret);
        let Some(name) = name.filter(|_| fits) else { return Ok(None) };
        self.sign(&name, scope, now_ms).map(Some)
    }

    /// A new token for the holder of one that holds (RFC 8693); it may be limited further.
    pub fn exchange_token(
        &self,
        token: &str,
        scope: &str,
        now_ms: i64,
    ) -> Result<Option<(String, i64)>, RolesError> {
        let Ok(Caller::Known { name, only }) = self.caller_of(token, now_ms) else { return Ok(None) };
        let wanted = limits(scope)?;
        let both = match (only, wanted) {
            (Some(only), Some(wanted)) => Some(only.intersection(&wanted).cloned().collect()),
            (only, wanted) => only.or(wanted),
        };
        Ok(Some(self.sign_for(&name, both, now_ms)))
    }

    fn sign(&self, name: &str, scope: &str, now_ms: i64) -> Result<(String, i64), RolesError> {
        let only = limits(scope)?;
        if let Some(only) = &only {
            let state = self.0.state.read();
            let has = state.roles.principals.get(name).map(|principal| &principal.roles);
            if let Some(role) = only.iter().find(|role| has.is_none_or(|has| !has.contains(*role))) {
                return Err(RolesError::Invalid(format!("{name} has no principal role {role}")));
            }
        }
        Ok(self.sign_for(name, only, now_ms))
    }

    fn sign_for(&self, name: &str, only: Option<BTreeSet<String>>, now_ms: i64) -> (String, i64) {
        let now_s = now_ms / 1_000;
        let stamp = self.stamp(name);
        let token = Token { principal: name.to_owned(), only, stamp, expires_s: now_s + TOKEN_SECONDS };
        (self.0.signer.sign(&token, now_s, &Uuid::new_v4().simple().to_string()), TOKEN_SECONDS)
    }

    /// Who shows this token.
    pub fn caller_of(&self, token: &str, now_ms: i64) -> Result<Caller, TokenError> {
        let Token { principal, only, stamp, .. } = self.0.signer.verify(token, now_ms / 1_000)?;
        // A new secret, or none, ends the tokens that the old one got.
        if self.stamp(&principal) != stamp || !self.0.state.read().roles.principals.contains_key(&principal) {
            return Err(TokenError::Foreign);
        }
        Ok(Caller::Known { name: principal, only })
    }

    /// Tells one secret of a principal from another, and tells nothing about it.
    fn stamp(&self, name: &str) -> String {
        let credential = self.credential(Mechanism::Sha256, name);
        let digest = Mechanism::Sha256.hash(&credential.stored_key);
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `caller` may do `act` to `object`. Reads memory alone.
    pub fn catalog_allows(&self, caller: &Caller, act: Act, object: Object<'_>) -> bool {
        self.is_super(caller) || self.0.state.read().roles.allow(caller, act, object)
    }

    /// Whether `caller` may change principals and principal roles.
    pub fn is_catalog_admin(&self, caller: &Caller) -> bool {
        self.is_super(caller) || self.0.state.read().roles.is_admin(caller)
    }

    /// Super users of the log are that here, too.
    fn is_super(&self, caller: &Caller) -> bool {
        let Caller::Known { name, only: None } = caller else { return false };
        let name = crate::Principal::user(name);
        self.0.settings.super_users.iter().any(|user| user == name.as_str())
    }

    pub fn catalog_principals(&self) -> BTreeMap<String, Principal> {
        self.0.state.read().roles.principals.clone()
    }

    pub fn principal_roles(&self) -> BTreeMap<String, PrincipalRole> {
        self.0.state.read().roles.principal_roles.clone()
    }

    pub fn catalog_roles(&self) -> BTreeMap<String, CatalogRole> {
        self.0.state.read().roles.catalog_roles.clone()
    }

    /// Makes a principal; its secret is shown once. It is a user of all doors.
    pub fn create_principal(
        &self,
        name: &str,
        properties: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<Issued, RolesError> {
        if self.users().contains_key(name) {
            return Err(RolesError::Exists("user", name.to_owned()));
        }
        let issued = Issued { client_id: new_client_id()?, secret: new_secret()? };
        let client_id = issued.client_id.clone();
        self.change_roles(|roles| roles.add_principal(name, client_id, properties, now_ms))?;
        self.provide_user(name, &issued.secret)?;
        Ok(issued)
    }

    /// Takes a principal away, with its secret.
    pub fn drop_principal(&self, name: &str) -> Result<(), RolesError> {
        self.change_roles(|roles| roles.remove_principal(name))?;
        let has = self.users().remove(name).unwrap_or_default();
        let changes = has.into_iter().map(|(mechanism, _)| CredentialChange {
            user: name.to_owned(),
            mechanism,
            credential: None,
        });
        Ok(self.alter_credentials(changes.collect())?)
    }

    /// Gives a principal a new secret, shown once; tokens of the old one end.
    pub fn rotate_secret(&self, name: &str) -> Result<Issued, RolesError> {
        let missing = || RolesError::Missing("principal", name.to_owned());
        let found = self.0.state.read().roles.principals.get(name).map(|p| p.client_id.clone());
        let issued = Issued { client_id: found.ok_or_else(missing)?, secret: new_secret()? };
        self.provide_user(name, &issued.secret)?;
        Ok(issued)
    }

    /// Replaces a principal's properties.
    pub fn update_principal(
        &self,
        name: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<(), RolesError> {
        self.change_roles(|roles| {
            roles.principal_mut(name)?.properties = properties;
            Ok(())
        })
    }

    pub fn create_principal_role(
        &self,
        name: &str,
        properties: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<(), RolesError> {
        self.change_roles(|roles| roles.add_principal_role(name, properties, now_ms))
    }

    pub fn update_principal_role(
        &self,
        name: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<(), RolesError> {
        self.change_roles(|roles| {
            roles.principal_role_mut(name)?.properties = properties;
            Ok(())
        })
    }

    pub fn drop_principal_role(&self, name: &str) -> Result<(), RolesError> {
        self.change_roles(|roles| roles.remove_principal_role(name))
    }

    pub fn create_catalog_role(
        &self,
        name: &str,
        properties: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<(), RolesError> {
        self.change_roles(|roles| roles.add_catalog_role(name, properties, now_ms))
    }

    pub fn update_catalog_role(
        &self,
        name: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<(), RolesError> {
        self.change_roles(|roles| {
            roles.catalog_role_mut(name)?.properties = properties;
            Ok(())
        })
    }

    pub fn drop_catalog_role(&self, name: &str) -> Result<(), RolesError> {
        self.change_roles(|roles| roles.remove_catalog_role(name))
    }

    /// Gives a principal a principal role, or takes it away.
    pub fn assign_role(&self, principal: &str, role: &str, has: bool) -> Result<(), RolesError> {
        self.change_roles(|roles| roles.assign(principal, role, has))
    }

    /// Gives a principal role a catalog role, or takes it away.
    pub fn assign_catalog_role(&self, principal_role: &str, role: &str, has: bool) -> Result<(), RolesError> {
        self.change_roles(|roles| roles.assign_catalog_role(principal_role, role, has))
    }

    /// Gives a catalog role a privilege, or takes it away.
    pub fn grant(&self, role: &str, grant: Grant, has: bool) -> Result<(), RolesError> {
        self.change_roles(|roles| roles.grant(role, grant, has))
    }

    /// Makes a change durable, and then lets it hold.
    fn change_roles(
        &self,
        change: impl FnOnce(&mut Roles) -> Result<(), RolesError>,
    ) -> Result<(), RolesError> {
        let _changing = self.0.changes.lock();
        let before = self.0.state.read().roles.clone();
        let mut after = before.clone();
        change(&mut after)?;
        self.0.control.transact::<_, RolesError>(|tx| Ok(after.store(&before, tx)?))?;
        self.0.state.write().roles = after;
        Ok(())
    }
}

/// The principal roles that a scope names; none for all. Iceberg's clients say `catalog` when nobody tells them.
fn limits(scope: &str) -> Result<Option<BTreeSet<String>>, RolesError> {
    let words: Vec<&str> = scope.split_ascii_whitespace().take(SCOPES_MAX).collect();
    let mut only = BTreeSet::new();
    for word in words {
        match word.strip_prefix(SCOPE) {
            Some(ALL_ROLES) => return Ok(None),
            Some(role) if !role.is_empty() => drop(only.insert(role.to_owned())),
            None if word == "catalog" => return Ok(None),
            _ => {
                let shown: String = word.chars().take(64).collect();
                return Err(RolesError::Invalid(format!("scope `{shown}`: write {SCOPE}{ALL_ROLES}")));
            }
        }
    }
    Ok((!only.is_empty()).then_some(only))
}
