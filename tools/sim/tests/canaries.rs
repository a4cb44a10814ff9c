//! Plants bugs and holds the simulator to finding them; and holds it to its word that a seed
//! replays. A simulator that finds nothing proves nothing.

use ringleader_sim::{Planted, run};

/// The first seed that catches the bug; a panic of the member's own asserts catches it too.
fn caught_by(planted: Planted, seeds: std::ops::Range<u64>) -> Option<u64> {
    seeds.into_iter().find(|seed| {
        let run = std::panic::catch_unwind(|| run(*seed, planted));
        !matches!(run, Ok(Ok(_)))
    })
}

#[test]
fn an_acknowledgement_before_the_flush_is_durable_is_caught() {
    assert!(caught_by(Planted::AckBeforeDurable, 1..20).is_some());
}

#[test]
fn a_forgotten_sync_is_caught() {
    assert!(caught_by(Planted::ForgetSync, 1..20).is_some());
}

#[test]
fn a_seed_replays_to_the_last_byte() {
    for seed in [3, 4] {
        let first = run(seed, Planted::Nothing).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(0 < first.crashes && 0 < first.revisions);
        assert_eq!(run(seed, Planted::Nothing), Ok(first));
    }
}
