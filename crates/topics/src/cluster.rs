//! placeholder: H8
