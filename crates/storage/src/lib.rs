//! The only crate that makes bytes durable.
//!
//! Owns: the disk seam (real | simulated), the write-ahead log, the control store, objects, the data directory and
//! the names of everything in it.
//! Does not own: what a topic or a table means.
//! Invariants: all log and control I/O passes [`disk::Disk`]; what a call says is durable survives a power cut.

pub mod control;
pub mod directory;
pub mod disk;
pub mod layout;
pub mod objects;
pub mod reserve;
#[cfg(any(test, feature = "simulated"))]
pub mod simulated;
pub mod wal;

pub use control::{Control, ControlError, ControlTx, Space};
pub use directory::{DataDirectory, DirectoryError};
pub use disk::{Disk, DiskFile, OpenMode, RealDisk, SharedDisk};
pub use objects::{Growing, Listed, ObjectError, Objects};
pub use reserve::Reserve;
