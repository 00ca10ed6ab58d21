//! Topic → table.
