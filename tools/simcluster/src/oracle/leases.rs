//! Owns the law of leases: one that its client renewed in time does not end, however often the
//! leader changes, and one that ended is not renewed.
//! Invariant: only what a client was told counts as a renewal, from when it asked.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Instant;

use crate::history::Stamp;
use crate::world::Wrong;

/// Rounding of clocks.
const ROUNDING: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    /// When the last renewal that was granted had been asked for.
    renewed: Option<Instant>,
    revoke_asked: Option<Stamp>,
}

/// All leases that clients asked for.
pub struct Leases {
    by_id: BTreeMap<i64, Lease>,
    drift: u64,
}

impl Leases {
    /// None. Clocks run wrong by up to `drift` millionths.
    pub fn new(drift: u64) -> Leases {
        Leases { by_id: BTreeMap::new(), drift }
    }

    /// A client asks for a lease.
    pub fn asked(&mut self, id: i64, ttl: Duration) {
        let lease = Lease { ttl, renewed: None, revoke_asked: None };
        assert!(self.by_id.insert(id, lease).is_none(), "lease {id} was asked for before");
    }

    /// A client was told that it has the lease from when it asked on, at least.
    pub fn renewed(&mut self, id: i64, asked: Stamp) {
        let lease = self.by_id.get_mut(&id).expect("only leases that were asked for are renewed");
        lease.renewed = lease.renewed.max(Some(asked.at));
    }

    /// A client asks for a lease's end.
    pub fn revoke_asked(&mut self, id: i64, at: Stamp) {
        let lease = self.by_id.get_mut(&id).expect("only leases that were asked for are revoked");
        lease.revoke_asked.get_or_insert(at);
    }

    /// Whether anybody ever asked for it.
    pub fn is_known(&self, id: i64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Leases that a client holds for all that it knows.
    pub fn held(&self) -> Vec<i64> {
        let held =
            self.by_id.iter().filter(|(_, l)| l.renewed.is_some() && l.revoke_asked.is_none());
        held.map(|(id, _)| *id).collect()
    }

    /// A lease ended at this moment, or was said to be gone.
    pub fn ended(&self, id: i64, at: Stamp) -> Result<(), Wrong> {
        let Some(lease) = self.by_id.get(&id) else {
            return Err(format!("leases: lease {id} ended, and nobody had asked for it"));
        };
        if lease.revoke_asked.is_some_and(|asked| asked.order < at.order) {
            return Ok(());
        }
        // The clock of the leader may be fast.
        let least = lease.ttl - lease.ttl * (2 * self.drift) as u32 / 1_000_000;
        match lease.renewed {
            Some(renewed) if at.at + ROUNDING < renewed + least => Err(format!(
                "leases: lease {id} of {:?} ended {:?} after a renewal that was granted",
                lease.ttl,
                at.at.since(renewed)
            )),
            Some(_) | None => Ok(()),
        }
    }
}
