//! The shapes of the requests that are served, field by field, from Kafka's message definitions
//! (clients/src/main/resources/common/message/*Request.json).
//!
//! A struct or field that a served version does not have is left out. The test in `shape` holds this table and the
//! codec together.

use super::{Field, Kind};

mod access;
mod groups;

pub(in crate::kafka) use access::*;
pub(in crate::kafka) use groups::*;

use Kind::{Array, Bytes, Fixed, Nullable, Struct, Text};

const BOOL: Kind = Fixed(1);
const INT8: Kind = Fixed(1);
const INT16: Kind = Fixed(2);
const INT32: Kind = Fixed(4);
const INT64: Kind = Fixed(8);
const UUID: Kind = Fixed(16);

const fn all(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}
const fn since(since: i16, kind: Kind) -> Field {
    between(since, i16::MAX, kind)
}
const fn between(since: i16, until: i16, kind: Kind) -> Field {
    Field { kind, since, until, tag: None }
}
const fn tagged(tag: u32, since: i16, kind: Kind) -> Field {
    Field { kind, since, until: i16::MAX, tag: Some(tag) }
}

const TEXTS: Kind = Array(&Text);
const INT32S: Kind = Array(&INT32);

pub(in crate::kafka) const PRODUCE: &[Field] = &[
    all(Text),  // transactional id
    all(INT16), // acks
    all(INT32), // timeout
    all(Array(&Struct(&[
        all(Text), // topic
        all(Array(&Struct(&[
            all(INT32), // partition
            all(Bytes), // records
        ]))),
    ]))),
];

pub(in crate::kafka) const FETCH: &[Field] = &[
    between(0, 14, INT32), // replica id
    all(INT32),            // max wait
    all(INT32),            // min bytes
    all(INT32),            // max bytes
    all(INT8),             // isolation level
    since(7, INT32),       // session id
    since(7, INT32),       // session epoch
    all(Array(&Struct(&[
        between(0, 12, Text), // topic
        since(13, UUID),      // topic id
        all(Array(&Struct(&[
            all(INT32),          // partition
            since(9, INT32),     // current leader epoch
            all(INT64),          // fetch offset
            since(12, INT32),    // last fetched epoch
            since(5, INT64),     // log start offset
            all(INT32),          // partition max bytes
            tagged(0, 17, UUID), // replica directory id
        ]))),
    ]))),
    since(
        7,
        Array(&Struct(&[
            between(0, 12, Text), // forgotten topic
            since(13, UUID),      // topic id
            all(INT32S),          // partitions
        ])),
    ),
    since(11, Text),     // rack id
    tagged(0, 12, Text), // cluster id
    tagged(
        1,
        15,
        Struct(&[
            all(INT32), // replica id
            all(INT64), // replica epoch
        ]),
    ),
];

pub(in crate::kafka) const LIST_OFFSETS: &[Field] = &[
    all(INT32),     // replica id
    since(2, INT8), // isolation level
    all(Array(&Struct(&[
        all(Text), // topic
        all(Array(&Struct(&[
            all(INT32),      // partition
            since(4, INT32), // current leader epoch
            all(INT64),      // timestamp
        ]))),
    ]))),
    since(10, INT32), // timeout
];

pub(in crate::kafka) const METADATA: &[Field] = &[
    all(Array(&Struct(&[
        since(10, UUID), // topic id
        all(Text),       // topic
    ]))),
    since(4, BOOL),       // allow auto topic creation
    between(8, 10, BOOL), // include cluster authorized operations
    since(8, BOOL),       // include topic authorized operations
];

pub(in crate::kafka) const FIND_COORDINATOR: &[Field] = &[
    between(0, 3, Text), // key
    since(1, INT8),      // key type
    since(4, TEXTS),     // keys
];

pub(in crate::kafka) const API_VERSIONS: &[Field] = &[
    since(3, Text), // client software name
    since(3, Text), // client software version
];

pub(in crate::kafka) const CREATE_TOPICS: &[Field] = &[
    all(Array(&Struct(&[
        all(Text),  // name
        all(INT32), // partitions
        all(INT16), // replication factor
        all(Array(&Struct(&[
            all(INT32),  // partition
            all(INT32S), // brokers
        ]))),
        all(Array(&Struct(&[
            all(Text), // property
            all(Text), // value
        ]))),
    ]))),
    all(INT32), // timeout
    all(BOOL),  // validate only
];

pub(in crate::kafka) const DELETE_TOPICS: &[Field] = &[
    since(
        6,
        Array(&Struct(&[
            all(Text), // name
            all(UUID), // topic id
        ])),
    ),
    between(0, 5, TEXTS), // names
    all(INT32),           // timeout
];

pub(in crate::kafka) const INIT_PRODUCER_ID: &[Field] = &[
    all(Text),       // transactional id
    all(INT32),      // transaction timeout
    since(3, INT64), // producer id
    since(3, INT16), // producer epoch
];

pub(in crate::kafka) const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    since(3, INT32), // replica id
    all(Array(&Struct(&[
        all(Text), // topic
        all(Array(&Struct(&[
            all(INT32), // partition
            all(INT32), // current leader epoch
            all(INT32), // leader epoch
        ]))),
    ]))),
];

pub(in crate::kafka) const DESCRIBE_CONFIGS: &[Field] = &[
    all(Array(&Struct(&[
        all(INT8),  // resource type
        all(Text),  // resource name
        all(TEXTS), // properties
    ]))),
    all(BOOL),      // include synonyms
    since(3, BOOL), // include documentation
];

pub(in crate::kafka) const ALTER_CONFIGS: &[Field] = &[
    all(Array(&Struct(&[
        all(INT8), // resource type
        all(Text), // resource name
        all(Array(&Struct(&[
            all(Text), // property
            all(Text), // value
        ]))),
    ]))),
    all(BOOL), // validate only
];

pub(in crate::kafka) const CREATE_PARTITIONS: &[Field] = &[
    all(Array(&Struct(&[
        all(Text),  // topic
        all(INT32), // count
        all(Array(&Struct(&[
            all(INT32S), // brokers
        ]))),
    ]))),
    all(INT32), // timeout
    all(BOOL),  // validate only
];

pub(in crate::kafka) const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    all(Array(&Struct(&[
        all(INT8), // resource type
        all(Text), // resource name
        all(Array(&Struct(&[
            all(Text), // property
            all(INT8), // operation
            all(Text), // value
        ]))),
    ]))),
    all(BOOL), // validate only
];

pub(in crate::kafka) const DESCRIBE_QUORUM: &[Field] = &[all(Array(&Struct(&[
    all(Text), // topic
    all(Array(&Struct(&[
        all(INT32), // partition
    ]))),
])))];

pub(in crate::kafka) const DESCRIBE_CLUSTER: &[Field] = &[
    all(BOOL),      // include authorized operations
    since(1, INT8), // endpoint type
    since(2, BOOL), // include fenced brokers
];

pub(in crate::kafka) const ADD_PARTITIONS_TO_TXN: &[Field] = &[
    all(Text),  // transactional id
    all(INT64), // producer id
    all(INT16), // producer epoch
    all(Array(&Struct(&[
        all(Text),   // topic
        all(INT32S), // partitions
    ]))),
];

pub(in crate::kafka) const ADD_OFFSETS_TO_TXN: &[Field] = &[
    all(Text),  // transactional id
    all(INT64), // producer id
    all(INT16), // producer epoch
    all(Text),  // group
];

pub(in crate::kafka) const END_TXN: &[Field] = &[
    all(Text),  // transactional id
    all(INT64), // producer id
    all(INT16), // producer epoch
    all(BOOL),  // committed
];

pub(in crate::kafka) const WRITE_TXN_MARKERS: &[Field] = &[all(Array(&Struct(&[
    all(INT64), // producer id
    all(INT16), // producer epoch
    all(BOOL),  // committed
    all(Array(&Struct(&[
        all(Text),   // topic
        all(INT32S), // partitions
    ]))),
    all(INT32), // coordinator epoch
])))];

pub(in crate::kafka) const DESCRIBE_PRODUCERS: &[Field] = &[all(Array(&Struct(&[
    all(Text),   // topic
    all(INT32S), // partitions
])))];

pub(in crate::kafka) const DESCRIBE_TRANSACTIONS: &[Field] = &[
    all(TEXTS), // transactional ids
];

pub(in crate::kafka) const LIST_TRANSACTIONS: &[Field] = &[
    all(TEXTS),         // states
    all(Array(&INT64)), // producer ids
    since(1, INT64),    // duration
];

/// Topics by name, each with partitions by number.
const TOPIC_PARTITIONS: Kind = Array(&Struct(&[
    all(Text),   // topic
    all(INT32S), // partitions
]));

pub(in crate::kafka) const DELETE_RECORDS: &[Field] = &[
    all(Array(&Struct(&[
        all(Text), // topic
        all(Array(&Struct(&[
            all(INT32), // partition
            all(INT64), // offset
        ]))),
    ]))),
    all(INT32), // timeout
];

pub(in crate::kafka) const ALTER_REPLICA_LOG_DIRS: &[Field] = &[all(Array(&Struct(&[
    all(Text),             // path
    all(TOPIC_PARTITIONS), // topics
])))];

pub(in crate::kafka) const DESCRIBE_LOG_DIRS: &[Field] = &[
    all(TOPIC_PARTITIONS), // topics
];

pub(in crate::kafka) const ELECT_LEADERS: &[Field] = &[
    since(1, INT8),        // election type
    all(TOPIC_PARTITIONS), // topics
    all(INT32),            // timeout
];

pub(in crate::kafka) const ALTER_PARTITION_REASSIGNMENTS: &[Field] = &[
    all(INT32),     // timeout
    since(1, BOOL), // allow replication factor change
    all(Array(&Struct(&[
        all(Text), // topic
        all(Array(&Struct(&[
            all(INT32),  // partition
            all(INT32S), // replicas
        ]))),
    ]))),
];

pub(in crate::kafka) const LIST_PARTITION_REASSIGNMENTS: &[Field] = &[
    all(INT32),            // timeout
    all(TOPIC_PARTITIONS), // topics
];

pub(in crate::kafka) const DESCRIBE_CLIENT_QUOTAS: &[Field] = &[
    all(Array(&Struct(&[
        all(Text), // entity type
        all(INT8), // match type
        all(Text), // match
    ]))),
    all(BOOL), // strict
];

pub(in crate::kafka) const ALTER_CLIENT_QUOTAS: &[Field] = &[
    all(Array(&Struct(&[
        all(Array(&Struct(&[
            all(Text), // entity type
            all(Text), // entity name
        ]))),
        all(Array(&Struct(&[
            all(Text),  // key
            all(INT64), // value: a float of 64 bits
            all(BOOL),  // remove
        ]))),
    ]))),
    all(BOOL), // validate only
];

pub(in crate::kafka) const LIST_CONFIG_RESOURCES: &[Field] = &[
    since(1, Array(&INT8)), // resource types
];

pub(in crate::kafka) const DESCRIBE_TOPIC_PARTITIONS: &[Field] = &[
    all(Array(&Struct(&[
        all(Text), // topic
    ]))),
    all(INT32), // response partition limit
    all(Nullable(&[
        all(Text),  // cursor: topic
        all(INT32), // cursor: partition
    ])),
];
