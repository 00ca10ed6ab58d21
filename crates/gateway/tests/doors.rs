//! The doors over a real node: sockets in front, log, registry, tables and SQL behind.

mod doors {
    mod admin;
    mod catalog;
    mod catalog_access;
    mod fixture;
    mod hostile;
    mod postgres;
    mod postgres_protocol;
    mod registry;
}
