//! The shapes of the requests of consumer groups.

use super::*;

pub(in crate::kafka) const OFFSET_COMMIT: &[Field] = &[
    all(Text),            // group
    all(INT32),           // generation
    all(Text),            // member id
    since(7, Text),       // group instance id
    between(2, 4, INT64), // retention time
    all(Array(&Struct(&[
        all(Text), // topic
        all(Array(&Struct(&[
            all(INT32),      // partition
            all(INT64),      // offset
            since(6, INT32), // leader epoch
            all(Text),       // metadata
        ]))),
    ]))),
];

pub(in crate::kafka) const JOIN_GROUP: &[Field] = &[
    all(Text),       // group
    all(INT32),      // session timeout
    since(1, INT32), // rebalance timeout
    all(Text),       // member id
    since(5, Text),  // group instance id
    all(Text),       // protocol type
    all(Array(&Struct(&[
        all(Text),  // protocol
        all(Bytes), // metadata
    ]))),
    since(8, Text), // reason
];

pub(in crate::kafka) const HEARTBEAT: &[Field] = &[
    all(Text),      // group
    all(INT32),     // generation
    all(Text),      // member id
    since(3, Text), // group instance id
];

pub(in crate::kafka) const LEAVE_GROUP: &[Field] = &[
    all(Text),           // group
    between(0, 2, Text), // member id
    since(
        3,
        Array(&Struct(&[
            all(Text),      // member id
            all(Text),      // group instance id
            since(5, Text), // reason
        ])),
    ),
];

pub(in crate::kafka) const SYNC_GROUP: &[Field] = &[
    all(Text),      // group
    all(INT32),     // generation
    all(Text),      // member id
    since(3, Text), // group instance id
    since(5, Text), // protocol type
    since(5, Text), // protocol
    all(Array(&Struct(&[
        all(Text),  // member id
        all(Bytes), // assignment
    ]))),
];

pub(in crate::kafka) const DELETE_GROUPS: &[Field] = &[
    all(TEXTS), // groups
];

pub(in crate::kafka) const OFFSET_DELETE: &[Field] = &[
    all(Text), // group
    all(Array(&Struct(&[
        all(Text), // topic
        all(Array(&Struct(&[
            all(INT32), // partition
        ]))),
    ]))),
];

pub(in crate::kafka) const TXN_OFFSET_COMMIT: &[Field] = &[
    all(Text),       // transactional id
    all(Text),       // group
    all(INT64),      // producer id
    all(INT16),      // producer epoch
    since(3, INT32), // generation
    since(3, Text),  // member id
    since(3, Text),  // group instance id
    all(Array(&Struct(&[
        all(Text), // topic
        all(Array(&Struct(&[
            all(INT32),      // partition
            all(INT64),      // offset
            since(2, INT32), // leader epoch
            all(Text),       // metadata
        ]))),
    ]))),
];

pub(in crate::kafka) const CONSUMER_GROUP_HEARTBEAT: &[Field] = &[
    all(Text),      // group
    all(Text),      // member id
    all(INT32),     // member epoch
    all(Text),      // group instance id
    all(Text),      // rack id
    all(INT32),     // rebalance timeout
    all(TEXTS),     // topics
    since(1, Text), // topic regex
    all(Text),      // server assignor
    all(Array(&Struct(&[
        all(UUID),   // topic id
        all(INT32S), // partitions
    ]))),
];

pub(in crate::kafka) const CONSUMER_GROUP_DESCRIBE: &[Field] = &[
    all(TEXTS), // groups
    all(BOOL),  // include authorized operations
];

pub(in crate::kafka) const OFFSET_FETCH: &[Field] = &[
    between(0, 7, Text), // group
    between(
        0,
        7,
        Array(&Struct(&[
            all(Text),   // topic
            all(INT32S), // partitions
        ])),
    ),
    since(
        8,
        Array(&Struct(&[
            all(Text),       // group
            since(9, Text),  // member id
            since(9, INT32), // member epoch
            all(Array(&Struct(&[
                all(Text),   // topic
                all(INT32S), // partitions
            ]))),
        ])),
    ),
    since(7, BOOL), // require stable
];

pub(in crate::kafka) const DESCRIBE_GROUPS: &[Field] = &[
    all(TEXTS),     // groups
    since(3, BOOL), // include authorized operations
];

pub(in crate::kafka) const LIST_GROUPS: &[Field] = &[
    since(4, TEXTS), // states
    since(5, TEXTS), // types
];
