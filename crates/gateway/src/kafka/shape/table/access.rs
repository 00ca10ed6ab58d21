//! The shapes of requests about users and ACLs.

use super::{Array, Bytes, Field, INT8, INT32, Struct, Text, all};

pub(in crate::kafka) const SASL_HANDSHAKE: &[Field] = &[
    all(Text), // mechanism
];

pub(in crate::kafka) const SASL_AUTHENTICATE: &[Field] = &[
    all(Bytes), // token
];

pub(in crate::kafka) const CREATE_ACLS: &[Field] = &[all(Array(&Struct(&[
    all(INT8), // resource type
    all(Text), // resource name
    all(INT8), // pattern type
    all(Text), // principal
    all(Text), // host
    all(INT8), // operation
    all(INT8), // permission type
])))];

/// One filter.
const ACL_FILTER: &[Field] = &[
    all(INT8), // resource type
    all(Text), // resource name
    all(INT8), // pattern type
    all(Text), // principal
    all(Text), // host
    all(INT8), // operation
    all(INT8), // permission type
];

pub(in crate::kafka) const DESCRIBE_ACLS: &[Field] = ACL_FILTER;

pub(in crate::kafka) const DELETE_ACLS: &[Field] = &[all(Array(&Struct(ACL_FILTER)))];

pub(in crate::kafka) const DESCRIBE_USER_SCRAM_CREDENTIALS: &[Field] = &[all(Array(&Struct(&[
    all(Text), // user
])))];

pub(in crate::kafka) const ALTER_USER_SCRAM_CREDENTIALS: &[Field] = &[
    all(Array(&Struct(&[
        all(Text), // user
        all(INT8), // mechanism
    ]))), // deletions
    all(Array(&Struct(&[
        all(Text),  // user
        all(INT8),  // mechanism
        all(INT32), // iterations
        all(Bytes), // salt
        all(Bytes), // salted password
    ]))), // upsertions
];
