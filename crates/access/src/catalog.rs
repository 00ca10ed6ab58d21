//! Who may do what in the table catalog: roles as Apache Polaris has them.
//!
//! Owns: principals, principal roles, catalog roles and grants; the decision about a request; access tokens.
//! Does not own: passwords (they are the users' of [`crate::Access`], so that one secret opens every door).
//! Invariants: what no grant allows is refused; a change is durable before it holds; `root` and the role `service_admin`
//! cannot be taken away, so that nobody locks everybody out.

mod principals;
mod privilege;
mod roles;
mod token;

#[cfg(test)]
mod matrix_tests;

pub use privilege::{Act, GrantOn, MATRIX, Object, Privilege};
pub use roles::{CATALOG, Caller, CatalogRole, Grant, Issued, Principal, PrincipalRole, ROOT, RolesError};
pub use token::{Token, TokenError};

pub(crate) use roles::Roles;
pub(crate) use token::Signer;
