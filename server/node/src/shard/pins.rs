//! Owns the pins that this shard holds on the slices of all shards, for those who read one point
//! for long: snapshots, stores on their way to a peer, large ranges.
//! Reads nothing. Invariant: a pin is held on every slice that holds keys, or on none once its
//! holder knows; whoever stops reading gives it back, however that came.
//!
//! A pin and its giving back travel the same way, so that none is left behind by overtaking.

use std::collections::BTreeMap;

use slice::{PinId, PinTooLate};

use super::walks::WalkId;
use super::{Shard, ShardEffect};
use crate::message::{CallId, ShardId, ToShard};

/// Numbers of one shard; what stands above them is the shard.
const NUMBER_BITS: u32 = 48;

/// Who wants the past kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A walk.
    Walk(WalkId),
    /// A reply that is read while it is sent.
    Scroll(CallId),
}

/// Pins that not every shard has confirmed.
pub struct Pins {
    asked: BTreeMap<PinId, Asking>,
    next: u64,
}

struct Asking {
    holder: Holder,
    missing: u16,
    late: Option<PinTooLate>,
}

impl Pins {
    /// None yet.
    pub fn new() -> Pins {
        Pins { asked: BTreeMap::new(), next: 0 }
    }
}

impl Shard {
    /// Pins `main` on all slices that hold keys; [`Shard::pinned`] tells the holder, perhaps before
    /// this returns.
    pub(super) fn pin(&mut self, holder: Holder, main: i64) -> PinId {
        let own = self.config.id;
        let pin = PinId(u64::from(own.0) << NUMBER_BITS | self.pins.next);
        self.pins.next += 1;
        let missing = self.config.partition.shards;
        self.pins.asked.insert(pin, Asking { holder, missing, late: None });
        for shard in self.others() {
            let message = ToShard::Pin { from: own, pin, main };
            self.out.push_back(ShardEffect::ToShard { shard, message });
        }
        let result = self.pin_own(pin, main);
        self.pinned(pin, result);
        pin
    }

    /// Gives a pin back.
    pub(super) fn unpin(&mut self, pin: PinId) {
        self.pins.asked.remove(&pin);
        self.unpin_own(pin);
        for shard in self.others() {
            self.out.push_back(ShardEffect::ToShard { shard, message: ToShard::Unpin { pin } });
        }
    }

    /// A shard has pinned its slices, or came too late.
    pub(super) fn pinned(&mut self, pin: PinId, result: Result<(), PinTooLate>) {
        // Its holder may have left meanwhile.
        let Some(asking) = self.pins.asked.get_mut(&pin) else { return };
        asking.missing -= 1;
        asking.late = asking.late.or(result.err());
        if asking.missing > 0 {
            return;
        }
        let Asking { holder, late, .. } = self.pins.asked.remove(&pin).expect("found just now");
        if late.is_some() {
            self.unpin(pin);
        }
        self.busy = true;
        match holder {
            Holder::Walk(walk) => self.walk_pinned(walk, late),
            Holder::Scroll(call) => self.scroll_pinned(call, late),
        }
    }

    /// Another shard wants the past kept here.
    pub(super) fn pin_for(&mut self, from: ShardId, pin: PinId, main: i64) {
        let result = self.pin_own(pin, main);
        let message = ToShard::Pinned { pin, result };
        self.out.push_back(ShardEffect::ToShard { shard: from, message });
    }

    fn pin_own(&mut self, pin: PinId, main: i64) -> Result<(), PinTooLate> {
        for (_, slice) in self.slices.iter_mut() {
            slice.pin(pin, main)?;
        }
        Ok(())
    }

    /// Another shard, or we ourselves, want it no more.
    pub(super) fn unpin_own(&mut self, pin: PinId) {
        self.slices.iter_mut().for_each(|(_, slice)| slice.unpin(pin));
    }

    /// All shards but this one.
    pub(super) fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.config.id;
        (0..self.config.partition.shards).map(ShardId).filter(move |shard| *shard != own)
    }
}
