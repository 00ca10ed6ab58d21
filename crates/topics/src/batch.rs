//! placeholder: H2
