//! Values that are JSON without a schema.
//!
//! Owns: which era of a topic's shape an offset belongs to, decoding with it, growing it by records that have no place.
//! Does not own: the shape itself (schemas), storing it (pipelines/materialize).
//! Invariants: a shape is stored before a record is committed with it; an offset's era does not change once its record
//! is committed, since a new era begins where the table stands.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use arrow::datatypes::Fields;
use base::{Offset, PartitionId};
use schemas::{Era, Inferred, Shape};
use serde::{Deserialize, Serialize};
use topics::batch::RecordView;

use super::part::{Era as Holds, Fitted, Misfit};

/// Eras of one topic after which its shape is closed: what is unknown then goes to the column `_extra`.
const ERAS_MAX: usize = 1_000;

/// The shape of a topic's values, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InferredShape {
    pub shape: Shape,
    /// First offset of each era per partition; 0 where a partition is missing. The last one that begins at or below an
    /// offset holds.
    pub eras: Vec<BTreeMap<PartitionId, Offset>>,
}

/// A shape that has to be stored before decoding goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    pub shape: Shape,
    /// How many eras there were when it grew.
    pub era: usize,
}

impl InferredShape {
    fn start(era: &BTreeMap<PartitionId, Offset>, partition: PartitionId) -> Offset {
        era.get(&partition).copied().unwrap_or(0)
    }

    /// First offsets of all eras in a partition.
    pub(super) fn starts(&self, partition: PartitionId) -> impl Iterator<Item = Offset> {
        self.eras.iter().map(move |era| Self::start(era, partition))
    }

    fn era(&self, partition: PartitionId, offset: Offset) -> Era {
        let held = self.eras.iter().rposition(|era| Self::start(era, partition) <= offset);
        held.map_or(0, number)
    }

    /// Makes a grown shape the present one, from `starts` on; false when it grew from another one.
    pub fn take(&mut self, grown: &Grown, starts: &BTreeMap<PartitionId, Offset>) -> bool {
        let fits = grown.era == self.eras.len();
        if fits {
            self.shape = grown.shape.clone();
            self.eras.push(starts.clone());
        }
        fits
    }
}

/// The shape, ready to decode.
#[derive(Debug)]
pub(super) struct InferredSource {
    stored: InferredShape,
    decoder: Inferred,
}

impl Hash for InferredSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.stored.hash(state);
    }
}

impl InferredSource {
    pub(super) fn new(stored: InferredShape) -> Self {
        Self { decoder: Inferred::new(&stored.shape), stored }
    }

    pub(super) fn fields(&self) -> &Fields {
        self.decoder.columns().fields()
    }

    /// Why fields of some records are in no column of their own.
    pub(super) fn difference(&self) -> Option<String> {
        self.stored.shape.is_full().then(|| {
            "the records have had more fields than a table has columns: those that came later are in `_extra`".to_owned()
        })
    }

    /// First offset above `offset` at which another era begins.
    pub(super) fn next_era(&self, partition: PartitionId, offset: Offset) -> Option<Offset> {
        self.stored.starts(partition).filter(|start| *start > offset).min()
    }

    /// Decodes records of one era, or with the newest one.
    pub(super) fn fit(&self, partition: PartitionId, records: &[RecordView<'_>], era: Holds) -> Fitted {
        let offset = match era {
            Holds::OfOffset => records.first().map_or(0, |record| record.offset),
            Holds::Newest => Offset::MAX,
        };
        let values: Vec<Option<&[u8]>> = records.iter().map(|record| record.value).collect();
        let rows = self.decoder.decode(self.stored.era(partition, offset), &values);
        let rejected = rows.decoded.rejected;
        let is_row = |row: &usize| rejected.binary_search_by_key(row, |rejected| rejected.row).is_err();
        let fitting: Vec<usize> = (0..records.len()).filter(is_row).collect();
        let misfit = |rejected: schemas::Rejected| Misfit {
            row: rejected.row,
            code: rejected.code.as_str(),
            message: rejected.message,
            schema_id: None,
        };
        Fitted {
            columns: rows.decoded.batch.columns().to_vec(),
            absent: vec![false; fitting.len()],
            rows: fitting,
            misfits: rejected.into_iter().map(misfit).collect(),
            unfit: rows.unfit,
        }
    }

    /// The shape that has room for these values too; none when that is the present one.
    pub(super) fn grown<'r>(&self, values: impl Iterator<Item = &'r [u8]>) -> Option<Grown> {
        let era = self.stored.eras.len();
        let mut shape = self.stored.shape.clone();
        values.for_each(|value| shape.grow(number(era), value));
        if era + 1 >= ERAS_MAX {
            shape.close(number(era));
        }
        (shape != self.stored.shape).then_some(Grown { shape, era })
    }
}

/// What shapes call the era at an index.
fn number(index: usize) -> Era {
    Era::try_from(index + 1).unwrap_or(Era::MAX)
}
