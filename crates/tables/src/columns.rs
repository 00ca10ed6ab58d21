//! placeholder: Arrow <-> Iceberg columns
