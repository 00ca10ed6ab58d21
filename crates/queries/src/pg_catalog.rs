//! The part of PostgreSQL's catalogs that clients read: `pg_catalog`, `information_schema` and their functions.
//!
//! Owns: relations made from a [`snapshot::CatalogSnapshot`] at statement time, catalog functions, and the rewriting
//! of statements that read catalogs into what the planner can do.
//! Does not own: user tables; sessions.
//! Invariants: only statements that mention catalogs are rewritten beyond casts and names, so user SQL keeps its
//! meaning; object ids are stable as long as the object lives.

pub(crate) mod emptiness;
pub(crate) mod functions;
pub(crate) mod membership;
pub(crate) mod naming;
pub mod oids;
pub(crate) mod relations;
pub(crate) mod rewrite;
pub(crate) mod rows;
pub(crate) mod snapshot;

/// PostgreSQL release whose catalogs and answers we follow; `server_version` of a session.
pub const SERVER_VERSION: &str = "15.0";
