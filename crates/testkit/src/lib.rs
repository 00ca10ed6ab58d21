//! Whole nodes, workloads, checkers and outside clients, for tests.
//!
//! Owns: nodes as processes that can be killed, the outside clients' programs, what "nothing lost, nothing doubled"
//! means as code, the suites that others wrote and what they should come to.
//! Does not own: the product. Never a dependency of a product crate.

pub mod bench;
pub mod checker;
pub mod conformance;
pub mod outside;
pub mod process;
pub mod random;
pub mod simulate;
