//! Owns which slice a key lies in and which shard owns a slice.
//! Invariant: the slice of a key is a function of the key and the slice count alone, both fixed
//! when the data directory was made; the shard of a slice may differ from start to start.

use base::SliceId;
use base::checksum::checksum;

use crate::message::ShardId;

/// How keys are dealt to slices and slices to shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Slices that hold keys; the meta slice comes on top.
    pub slices: u16,
    /// Shards, one for each core.
    pub shards: u16,
    /// Under which ids the slices stand.
    pub side: Side,
}

/// A store that is replaced as a whole is built beside the old one: its slices have other ids,
/// and so other files, until the manifest names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Ids from 0.
    Even,
    /// Ids from [`Side::STRIDE`].
    Odd,
}

impl Side {
    /// Distance of the two sides' ids.
    pub const STRIDE: u16 = 1024;

    /// The first id.
    pub fn base(self) -> u16 {
        match self {
            Side::Even => 0,
            Side::Odd => Side::STRIDE,
        }
    }

    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Even => Side::Odd,
            Side::Odd => Side::Even,
        }
    }

    /// Where a slice stands.
    pub fn of(slice: SliceId) -> Side {
        if slice.0 < Side::STRIDE { Side::Even } else { Side::Odd }
    }
}

const _: () = assert!(base::limits::SLICES_MAX < Side::STRIDE);

impl Partition {
    /// The partition of a new store.
    pub const fn new(slices: u16, shards: u16) -> Partition {
        Partition { slices, shards, side: Side::Even }
    }

    /// The same, on the other side.
    pub fn beside(&self) -> Partition {
        Partition { side: self.side.other(), ..*self }
    }

    /// The place of a slice in a list of all, the meta slice last. Panics if it is of the other
    /// side.
    pub fn place(&self, slice: SliceId) -> usize {
        assert_eq!(Side::of(slice), self.side);
        usize::from(slice.0 - self.side.base())
    }

    /// All slices, the meta slice last.
    pub fn all(&self) -> impl Iterator<Item = SliceId> + use<> {
        let base = self.side.base();
        (base..base + self.slices_in_all()).map(SliceId)
    }

    /// The slice of a key: CRC-32 of the key modulo the number of slices.
    pub fn slice_of(&self, key: &[u8]) -> SliceId {
        match self.slices {
            1 => SliceId(self.side.base()),
            slices => SliceId(self.side.base() + (checksum(key) % u32::from(slices)) as u16),
        }
    }

    /// The slice of leases, alarms and members.
    pub fn meta(&self) -> SliceId {
        SliceId(self.side.base() + self.slices)
    }

    /// Slices with the meta slice.
    pub fn slices_in_all(&self) -> u16 {
        self.slices + 1
    }

    /// All slices that hold keys.
    pub fn key_slices(&self) -> impl Iterator<Item = SliceId> + use<> {
        let base = self.side.base();
        (base..base + self.slices).map(SliceId)
    }

    /// Slices of the span's keys: one for a single key, else all.
    pub fn slices_of(&self, span: &state::Span) -> Vec<SliceId> {
        match span {
            state::Span::Key(key) => vec![self.slice_of(key)],
            state::Span::Between { .. } | state::Span::From(_) => self.key_slices().collect(),
        }
    }

    /// Who owns a slice: dealt round robin; the meta slice lies with the leader.
    pub fn owner(&self, slice: SliceId) -> ShardId {
        match slice == self.meta() {
            true => ShardId(0),
            false => ShardId((slice.0 - self.side.base()) % self.shards),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_key_lies_never_changes() {
        let partition = Partition::new(4, 2);
        // Written down when the format was made: a change here loses every store's keys.
        let at =
            ["a", "b", "foo", "/registry/pods/x"].map(|key| partition.slice_of(key.as_bytes()));
        let again = Partition::new(4, 3);
        let same = ["a", "b", "foo", "/registry/pods/x"].map(|key| again.slice_of(key.as_bytes()));
        assert_eq!(at, same);
        assert_eq!(at, [SliceId(3), SliceId(1), SliceId(1), SliceId(2)]);
    }
}
