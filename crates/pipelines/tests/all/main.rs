//! Materialize and publish over the real log, registry, catalog and SQL, in temporary directories.

mod node;

mod failpoints;
mod formats;
mod json_infer;
mod materialize;
mod publish;
mod recovery;
mod replay;
mod retention;
mod schema_changes;
mod stalled;
mod topics_and_tables;
mod upkeep;
mod verify;
