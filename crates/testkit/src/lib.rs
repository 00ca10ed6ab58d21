//! Whole nodes, workloads, checkers and outside clients, for tests.
//!
//! Owns: nodes as processes that can be killed, the outside clients' programs, what "nothing lost, nothing doubled"
//! means as code.
//! Does not own: the product. Never a dependency of a product crate.

pub mod bench;
pub mod checker;
pub mod outside;
pub mod process;
pub mod random;
pub mod simulate;
