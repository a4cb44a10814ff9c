//! Owns the coordination of a checkpoint: when one begins, whose roots are still missing, and the
//! manifest that makes them one.
//! Never writes. Invariant: a manifest is made only when every slice has reported the root of that
//! very generation, and no second checkpoint begins before the first one's manifest is durable.
//!
//! ```text
//! Idle --begin--> Gathering --last root--> Flipping --manifest durable--> Idle
//! ```

use std::time::Duration;

use base::Instant;
use bytes::Bytes;

use crate::manifest::Manifest;

/// When checkpoints begin.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointPolicy {
    /// At least this long after the one before, if anything was written.
    pub interval: Duration,
    /// At once when so many bytes were logged since the one before.
    pub log_bytes: u64,
}

/// Where the checkpoint stands.
#[derive(Debug)]
pub struct Checkpoints {
    policy: CheckpointPolicy,
    stage: Stage,
    generation: u64,
    began: Instant,
    log_bytes: u64,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Gathering { manifest: Box<Manifest>, missing: usize, roots: Vec<Option<Bytes>> },
    Flipping { manifest: Box<Manifest> },
}

impl Checkpoints {
    /// `generation` is that of the manifest in force.
    pub fn new(now: Instant, policy: CheckpointPolicy, generation: u64) -> Checkpoints {
        Checkpoints { policy, stage: Stage::Idle, generation, began: now, log_bytes: 0 }
    }

    /// Counts what the log was given.
    pub fn logged(&mut self, bytes: u64) {
        self.log_bytes += bytes;
    }

    /// When [`Checkpoints::due`] may next become true.
    pub fn poll_deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Idle if self.log_bytes > 0 => Some(self.began + self.policy.interval),
            Stage::Idle | Stage::Gathering { .. } | Stage::Flipping { .. } => None,
        }
    }

    /// Should a checkpoint begin?
    pub fn due(&self, now: Instant) -> bool {
        let idle = matches!(self.stage, Stage::Idle);
        let old = now.since(self.began) >= self.policy.interval;
        idle && (self.log_bytes >= self.policy.log_bytes || (old && self.log_bytes > 0))
    }

    /// When the newest one began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// True if none is under way.
    pub fn idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Begins a checkpoint; `facts` says what is true at the marker (its generation and roots are
    /// filled in here). Returns the generation for the marker.
    pub fn begin(&mut self, now: Instant, mut facts: Manifest, slices: u16) -> u64 {
        assert!(self.idle(), "one checkpoint at a time");
        self.generation += 1;
        self.began = now;
        self.log_bytes = 0;
        facts.generation = self.generation;
        self.stage = Stage::Gathering {
            manifest: Box::new(facts),
            missing: usize::from(slices),
            roots: vec![None; usize::from(slices)],
        };
        self.generation
    }

    /// Takes the root of the slice in this place; returns the manifest to write when it was the
    /// last one.
    pub fn durable(&mut self, place: usize, generation: u64, root: Bytes) -> Option<Manifest> {
        assert_eq!(generation, self.generation, "root {place} is of another checkpoint");
        let Stage::Gathering { missing, roots, .. } = &mut self.stage else {
            panic!("root {place} while none is gathered");
        };
        assert!(roots[place].replace(root).is_none(), "root {place} reported twice");
        *missing -= 1;
        if *missing > 0 {
            return None;
        }
        let Stage::Gathering { mut manifest, roots, .. } =
            std::mem::replace(&mut self.stage, Stage::Idle)
        else {
            unreachable!("it was gathering a moment ago");
        };
        manifest.roots = roots.into_iter().map(|root| root.expect("none is missing")).collect();
        self.stage = Stage::Flipping { manifest: manifest.clone() };
        Some(*manifest)
    }

    /// The store is replaced as a whole by one whose roots are all durable: this manifest is next.
    pub fn replace(&mut self, mut manifest: Manifest) -> Manifest {
        assert!(self.idle(), "one checkpoint at a time");
        self.generation += 1;
        manifest.generation = self.generation;
        self.stage = Stage::Flipping { manifest: Box::new(manifest.clone()) };
        manifest
    }

    /// The manifest is durable: it is in force now.
    pub fn flipped(&mut self) -> Manifest {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Flipping { manifest } => *manifest,
            Stage::Idle | Stage::Gathering { .. } => panic!("no manifest was being written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Manifest {
        Manifest {
            generation: 0,
            cluster_id: 1,
            member_id: 2,
            applied_index: 10,
            applied_term: 1,
            revision: 5,
            compact_revision: -1,
            log_first: 1,
            log_position: 0,
            voters: vec![2],
            learners: Vec::new(),
            roots: Vec::new(),
        }
    }

    #[test]
    fn the_manifest_waits_for_the_last_root() {
        let policy = CheckpointPolicy { interval: Duration::from_secs(5), log_bytes: 100 };
        let mut checkpoints = Checkpoints::new(Instant(0), policy, 7);
        assert!(!checkpoints.due(Instant(0) + Duration::from_secs(60)), "nothing was logged");
        checkpoints.logged(1);
        assert!(!checkpoints.due(Instant(0)));
        assert!(checkpoints.due(Instant(0) + Duration::from_secs(5)));
        checkpoints.logged(99);
        assert!(checkpoints.due(Instant(0)));
        let generation = checkpoints.begin(Instant(0), facts(), 2);
        assert_eq!(generation, 8);
        assert!(!checkpoints.due(Instant(u64::MAX)));
        assert_eq!(checkpoints.durable(1, 8, Bytes::from_static(b"b")), None);
        let manifest = checkpoints.durable(0, 8, Bytes::from_static(b"a")).expect("all");
        assert_eq!(manifest.roots, vec![&b"a"[..], &b"b"[..]]);
        assert_eq!(manifest.generation, 8);
        assert_eq!(checkpoints.flipped(), manifest);
        assert!(checkpoints.idle());
    }
}
