//! Bindings and users, durable, and the decision over them.
//!
//! Owns: the space `access` of the control store, what of it is in memory, the order of changes.
//! Does not own: the rules (`authorizer`), what credentials are made of (`credential`).
//! Invariants: what is in memory is what is stored; a change holds for every decision that begins after it was durable;
//! while everybody may do everything a decision reads one flag.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{ErrorKind, Fault};
use parking_lot::{Mutex, RwLock};
use storage::layout::ACCESS;
use storage::{Control, ControlError};
use uuid::Uuid;

use crate::Principal;
use crate::acl::{Binding, Filter, NAME_BYTES_MAX, Operation, Resource, ResourceKind};
use crate::authorizer::Authorizer;
use crate::catalog::{Roles, Signer};
use crate::credential::{Credential, CredentialError, ITERATIONS_MIN, Mechanism, random_bytes};

/// Most bindings that are kept.
const BINDINGS_MAX: usize = 10_000;
/// Most users that are kept.
const USERS_MAX: usize = 10_000;

/// Under which keys things are kept: a binding under any id, a credential under mechanism and name.
const BINDING: &str = "acl/";
const CREDENTIAL: &str = "user/";
/// Makes up the salts of users that do not exist.
const SECRET: &str = "secret";

/// What is set for the whole node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `super.users`: principals, as `User:name`.
    pub super_users: Vec<String>,
    /// `allow.everyone.if.no.acl.found`.
    pub open_by_default: bool,
    /// Whether requests to the table catalog need a token.
    pub catalog_tokens: bool,
}

impl Default for Settings {
    /// A node on which nobody has to say who they are.
    fn default() -> Self {
        Self { super_users: Vec::new(), open_by_default: true, catalog_tokens: false }
    }
}

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("there are {BINDINGS_MAX} ACLs at most")]
    TooManyBindings,
    #[error("there are {USERS_MAX} users at most")]
    TooManyUsers,
    #[error("`{0}` is no name of a user: 1 to {NAME_BYTES_MAX} bytes without control characters")]
    UserName(String),
    #[error("user {user} has no credential for {mechanism}")]
    NoCredential { user: String, mechanism: &'static str },
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("cannot store it")]
    Control(#[from] ControlError),
}

impl Fault for AccessError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooManyBindings | Self::TooManyUsers => ErrorKind::Conflict,
            Self::UserName(_) | Self::Credential(_) => ErrorKind::Invalid,
            Self::NoCredential { .. } => ErrorKind::NotFound,
            Self::Control(e) => e.kind(),
        }
    }
}

/// A change to one credential.
#[derive(Debug, Clone)]
pub struct CredentialChange {
    pub user: String,
    pub mechanism: Mechanism,
    /// None takes it away.
    pub credential: Option<Credential>,
}

/// Principals and their rights. Clones share them. Changes block for about as long as an fsync takes.
#[derive(Debug, Clone)]
pub struct Access(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) control: Control,
    pub(crate) settings: Settings,
    secret: Secret,
    /// Makes and checks the catalog's tokens.
    pub(crate) signer: Signer,
    /// Whether everybody may do everything.
    open: AtomicBool,
    /// Held while a change is made; `state` is not, so that decisions never wait for the disk.
    pub(crate) changes: Mutex<()>,
    pub(crate) state: RwLock<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// With their keys.
    bindings: BTreeMap<Binding, String>,
    authorizer: Authorizer,
    users: BTreeMap<String, BTreeMap<Mechanism, Credential>>,
    pub(crate) roles: Roles,
}

struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Access {
    /// Opens what is stored in `control`.
    pub fn open(control: Control, settings: Settings) -> Result<Self, AccessError> {
        let secret = match control.get(ACCESS, SECRET)? {
            Some(secret) => secret,
            None => {
                let secret = random_bytes::<32>()?.to_vec();
                control.transact(|tx| tx.put(ACCESS, SECRET, &secret))?;
                secret
            }
        };
        let mut state = State::default();
        for (key, binding) in control.scan_json::<Binding>(ACCESS, BINDING)? {
            state.bindings.insert(binding, key);
        }
        for (key, credential) in control.scan_json::<Credential>(ACCESS, CREDENTIAL)? {
            let named = key[CREDENTIAL.len()..].split_once('/');
            match named.and_then(|(mechanism, user)| Some((Mechanism::named(mechanism)?, user))) {
                Some((mechanism, user)) => {
                    state.users.entry(user.to_owned()).or_default().insert(mechanism, credential);
                }
                // A mechanism of a later version: nobody can use it here, and nothing is lost.
                None => tracing::warn!(%key, "a credential for an unknown mechanism is left alone"),
            }
        }
        state.roles = Roles::load(&control)?;
        let shared = Shared {
            control,
            settings,
            signer: Signer::new(&secret),
            secret: Secret(secret),
            open: AtomicBool::new(false),
            changes: Mutex::default(),
            state: RwLock::new(state),
        };
        let access = Self(Arc::new(shared));
        access.decide_anew(&mut access.0.state.write());
        Ok(access)
    }

    /// Makes the authorizer follow the bindings.
    fn decide_anew(&self, state: &mut State) {
        let settings = &self.0.settings;
        state.authorizer =
            Authorizer::new(state.bindings.keys(), &settings.super_users, settings.open_by_default);
        self.0.open.store(state.authorizer.is_open(), Ordering::SeqCst);
    }

    /// Whether `principal`, asking from the address `host`, may do `operation` to `resource`.
    pub fn allows(
        &self,
        principal: &Principal,
        host: &str,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        self.0.open.load(Ordering::SeqCst)
            || self.0.state.read().authorizer.allows(principal, host, operation, resource)
    }

    /// Whether `principal` may do `operation` to at least one resource of `kind`.
    pub fn allows_any(
        &self,
        principal: &Principal,
        host: &str,
        operation: Operation,
        kind: ResourceKind,
    ) -> bool {
        self.0.open.load(Ordering::SeqCst)
            || self.0.state.read().authorizer.allows_any(principal, host, operation, kind)
    }

    /// The bindings that `filter` finds, in order.
    pub fn bindings(&self, filter: &Filter) -> Vec<Binding> {
        self.0.state.read().bindings.keys().filter(|binding| filter.finds(binding)).cloned().collect()
    }

    /// Adds bindings; those that are there already stay. They have been checked ([`Binding::check`]).
    pub fn add(&self, bindings: &[Binding]) -> Result<(), AccessError> {
        let _changing = self.0.changes.lock();
        let new: BTreeSet<&Binding> = {
            let state = self.0.state.read();
            bindings.iter().filter(|binding| !state.bindings.contains_key(binding)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        if self.0.state.read().bindings.len() + new.len() > BINDINGS_MAX {
            return Err(AccessError::TooManyBindings);
        }
        let new: Vec<(Binding, String)> =
            new.into_iter().map(|b| (b.clone(), format!("{BINDING}{}", Uuid::new_v4()))).collect();
        self.0.control.transact::<_, ControlError>(|tx| {
            new.iter().try_for_each(|(binding, key)| tx.put_json(ACCESS, key, binding))
        })?;
        let mut state = self.0.state.write();
        state.bindings.extend(new);
        self.decide_anew(&mut state);
        Ok(())
    }

    /// Takes away the bindings that each filter finds; gives them, by filter.
    pub fn remove(&self, filters: &[Filter]) -> Result<Vec<Vec<Binding>>, AccessError> {
        let _changing = self.0.changes.lock();
        let found: Vec<Vec<Binding>> = filters.iter().map(|filter| self.bindings(filter)).collect();
        let gone: BTreeSet<&Binding> = found.iter().flatten().collect();
        if gone.is_empty() {
            return Ok(found);
        }
        let keys: Vec<String> = {
            let state = self.0.state.read();
            gone.iter().filter_map(|binding| state.bindings.get(*binding).cloned()).collect()
        };
        self.0.control.transact::<_, ControlError>(|tx| {
            keys.iter().try_for_each(|key| tx.delete(ACCESS, key).map(drop))
        })?;
        let mut state = self.0.state.write();
        gone.iter().for_each(|binding| drop(state.bindings.remove(*binding)));
        self.decide_anew(&mut state);
        drop(state);
        Ok(found)
    }

    /// The user's credential, or one that no password fits.
    pub fn credential(&self, mechanism: Mechanism, user: &str) -> Credential {
        let nobody = Credential::of_nobody(mechanism, &self.0.secret.0, user);
        let state = self.0.state.read();
        state.users.get(user).and_then(|of| of.get(&mechanism)).cloned().unwrap_or(nobody)
    }

    /// Whether `user` has this password. Takes milliseconds of processor time, as long for a user who does not exist.
    pub fn password_fits(&self, user: &str, password: &str) -> bool {
        let has =
            |mechanism| self.0.state.read().users.get(user).is_some_and(|of| of.contains_key(&mechanism));
        let mechanism = Mechanism::ALL.into_iter().find(|one| has(*one)).unwrap_or(Mechanism::Sha256);
        self.credential(mechanism, user).fits(mechanism, password)
    }

    /// All users with their mechanisms and iterations.
    pub fn users(&self) -> BTreeMap<String, Vec<(Mechanism, u32)>> {
        let state = self.0.state.read();
        let users = state.users.iter().map(|(user, of)| {
            (
                user.clone(),
                of.iter().map(|(mechanism, credential)| (*mechanism, credential.iterations)).collect(),
            )
        });
        users.collect()
    }

    /// Makes changes to credentials, all or none.
    pub fn alter_credentials(&self, changes: Vec<CredentialChange>) -> Result<(), AccessError> {
        let _changing = self.0.changes.lock();
        let mut users = self.0.state.read().users.clone();
        for change in &changes {
            check_user_name(&change.user)?;
            let of = users.entry(change.user.clone()).or_default();
            match &change.credential {
                Some(credential) => drop(of.insert(change.mechanism, credential.clone())),
                None => {
                    let missing = || AccessError::NoCredential {
                        user: change.user.clone(),
                        mechanism: change.mechanism.name(),
                    };
                    of.remove(&change.mechanism).ok_or_else(missing)?;
                }
            }
        }
        users.retain(|_, of| !of.is_empty());
        if users.len() > USERS_MAX {
            return Err(AccessError::TooManyUsers);
        }
        self.0.control.transact::<_, ControlError>(|tx| {
            changes.iter().try_for_each(|change| {
                let key = format!("{CREDENTIAL}{}/{}", change.mechanism.name(), change.user);
                match &change.credential {
                    Some(credential) => tx.put_json(ACCESS, &key, credential),
                    None => tx.delete(ACCESS, &key).map(drop),
                }
            })
        })?;
        self.0.state.write().users = users;
        Ok(())
    }

    /// Makes a user with this password for all mechanisms, or gives one the password; whether anything changed.
    pub fn provide_user(&self, user: &str, password: &str) -> Result<bool, AccessError> {
        check_user_name(user)?;
        let has = self.0.state.read().users.get(user).cloned().unwrap_or_default();
        let fits = |mechanism: Mechanism| has.get(&mechanism).is_some_and(|c| c.fits(mechanism, password));
        let mut changes = Vec::new();
        for mechanism in Mechanism::ALL.into_iter().filter(|one| !fits(*one)) {
            let credential = Some(Credential::of_password(mechanism, password, ITERATIONS_MIN)?);
            changes.push(CredentialChange { user: user.to_owned(), mechanism, credential });
        }
        let changed = !changes.is_empty();
        self.alter_credentials(changes)?;
        Ok(changed)
    }
}

/// Whether a user can have this name.
pub(crate) fn check_user_name(user: &str) -> Result<(), AccessError> {
    if user.is_empty() || user.len() > NAME_BYTES_MAX || user.chars().any(char::is_control) {
        return Err(AccessError::UserName(user.chars().take(64).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use storage::{RealDisk, SharedDisk};

    use super::*;
    use crate::acl::{Pattern, Permission, WILDCARD};

    struct Place(std::path::PathBuf);

    impl Place {
        fn new() -> Self {
            let dir = std::env::temp_dir().join(format!("frazil-access-{}", Uuid::new_v4()));
            std::fs::create_dir_all(&dir).expect("directory");
            Self(dir)
        }

        fn open(&self, settings: Settings) -> Access {
            let disk: SharedDisk = Arc::new(RealDisk);
            let control = Control::open(&disk, &storage::layout::control_file(&self.0)).expect("control");
            Access::open(control, settings).expect("access")
        }

        /// Everything that is on the disk.
        fn bytes(&self) -> Vec<u8> {
            std::fs::read(storage::layout::control_file(&self.0)).expect("file")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    fn deny(topic: &str) -> Binding {
        Binding {
            kind: ResourceKind::Topic,
            name: topic.into(),
            pattern: Pattern::Literal,
            principal: "User:*".into(),
            host: WILDCARD.into(),
            operation: Operation::All,
            permission: Permission::Deny,
        }
    }

    #[test]
    fn bindings_hold_at_once_and_after_a_restart() {
        let place = Place::new();
        let may = |access: &Access, topic: &str| {
            access.allows(&Principal::anonymous(), "127.0.0.1", Operation::Read, Resource::topic(topic))
        };
        {
            let access = place.open(Settings::default());
            assert!(may(&access, "t"));
            access.add(&[deny("t"), deny("u"), deny("t")]).expect("add");
            access.add(&[deny("t")]).expect("again");
            assert!(!may(&access, "t") && !may(&access, "u") && may(&access, "v"));
            assert_eq!(access.bindings(&Filter::ALL).len(), 2);
        }
        {
            let access = place.open(Settings::default());
            assert!(!may(&access, "t") && !may(&access, "u"));
            let u = Filter { name: Some("u".into()), ..Filter::ALL };
            let gone = access
                .remove(&[u.clone(), u, Filter { name: Some("x".into()), ..Filter::ALL }])
                .expect("remove");
            assert_eq!(gone, [vec![deny("u")], vec![deny("u")], vec![]]);
            assert!(!may(&access, "t") && may(&access, "u"));
        }
        let access = place.open(Settings::default());
        assert_eq!(access.bindings(&Filter::ALL), [deny("t")]);
        access.remove(&[Filter::ALL]).expect("remove");
        assert!(may(&access, "t") && access.0.open.load(Ordering::SeqCst));
    }

    #[test]
    fn users_and_what_is_kept_of_their_passwords() {
        let place = Place::new();
        {
            let access = place.open(Settings::default());
            assert!(access.provide_user("alice", "correct horse battery").expect("made"));
            assert!(!access.provide_user("alice", "correct horse battery").expect("the same"));
            assert!(access.password_fits("alice", "correct horse battery"));
            for (user, password) in [("alice", "wrong"), ("bob", "wrong"), ("bob", ""), ("", "")] {
                assert!(!access.password_fits(user, password), "{user} {password}");
            }
        }
        let found = place.bytes().windows(13).any(|bytes| bytes == b"correct horse");
        assert!(!found, "a password is on the disk");
        let access = place.open(Settings::default());
        assert!(access.password_fits("alice", "correct horse battery"));
        assert!(access.provide_user("alice", "another").expect("changed"));
        assert!(
            !access.password_fits("alice", "correct horse battery")
                && access.password_fits("alice", "another")
        );
        let all = [(Mechanism::Sha256, 4_096), (Mechanism::Sha512, 4_096)];
        assert_eq!(access.users(), [("alice".to_owned(), all.to_vec())].into());
        let remove =
            |user: &str, mechanism| CredentialChange { user: user.into(), mechanism, credential: None };
        let both = vec![remove("alice", Mechanism::Sha256), remove("bob", Mechanism::Sha256)];
        assert!(matches!(access.alter_credentials(both), Err(AccessError::NoCredential { .. })));
        assert_eq!(access.users().len(), 1, "all or none");
        let both = vec![remove("alice", Mechanism::Sha256), remove("alice", Mechanism::Sha512)];
        access.alter_credentials(both).expect("removed");
        assert!(access.users().is_empty() && !access.password_fits("alice", "another"));
        for bad in ["", "a\nb", &"x".repeat(1_001)] {
            assert!(matches!(access.provide_user(bad, "x"), Err(AccessError::UserName(_))), "{bad}");
        }
        assert!(matches!(
            access.provide_user("a", ""),
            Err(AccessError::Credential(CredentialError::EmptyPassword))
        ));
    }

    #[test]
    fn users_that_do_not_exist_look_like_others_and_stay_so() {
        let place = Place::new();
        let nobody = place.open(Settings::default()).credential(Mechanism::Sha256, "nobody");
        let access = place.open(Settings::default());
        assert_eq!(access.credential(Mechanism::Sha256, "nobody"), nobody, "the same salt after a restart");
        access.provide_user("somebody", "x").expect("user");
        let somebody = access.credential(Mechanism::Sha256, "somebody");
        assert_eq!((somebody.salt.len(), somebody.iterations), (nobody.salt.len(), nobody.iterations));
    }
}
