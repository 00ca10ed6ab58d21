//! Who may do what: one store of principals, one authorizer, for every door.
//!
//! Owns: users with their SCRAM credentials, ACL bindings in Kafka's terms, the decision whether a principal may do an
//! operation on a resource, the server's side of a SCRAM exchange; the table catalog's roles, grants and tokens.
//! Does not own: sockets and frames, which operation a request needs (each door's table).
//! Invariants: a password is never stored, logged or shown, nor anything that opens a session by itself; a change is
//! durable before it holds; a decision reads memory alone, and next to none of it while there are no ACLs; what cannot be
//! told from outside is whether a user exists.

pub mod acl;
pub mod authorizer;
pub mod catalog;
pub mod credential;
pub mod scram;
mod store;

pub use acl::{Binding, Filter, FilterPattern, Operation, Pattern, Permission, Resource, ResourceKind};
pub use credential::{Credential, CredentialError, Mechanism};
pub use store::{Access, AccessError, CredentialChange, Settings};

use std::fmt;
use std::sync::Arc;

/// The type of all principals there are; the other part is the name.
const USER: &str = "User";

/// Who asks: `User:name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The principal of a user.
    pub fn user(name: &str) -> Self {
        Self(format!("{USER}:{name}").into())
    }

    /// Whoever did not have to say who they are, under Kafka's name.
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// `User:name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
