//! Plants bugs and holds the simulator to finding them; and holds it to its word that a seed
//! replays. A simulator that finds nothing proves nothing.

use std::time::Duration;

use node::leader::checks::CheckPolicy;
use ringleader_simcluster::plan::{Scope, Shape, Trouble};
use ringleader_simcluster::{Planted, Voice, run, run_shaped};

/// The first seed that catches the bug; a panic of a member's own asserts catches it too.
fn caught_by(planted: Planted, seeds: std::ops::Range<u64>, shape: fn(&mut Shape)) -> Option<u64> {
    seeds.into_iter().find(|seed| {
        let run = std::panic::catch_unwind(|| {
            run_shaped(*seed, Scope::Plain, planted, Voice::Silent, shape)
        });
        !matches!(run, Ok(Ok(_)))
    })
}

#[test]
fn an_acknowledgement_before_the_flush_is_durable_is_caught() {
    assert!(caught_by(Planted::AckBeforeDurable, 1..100, |_| {}).is_some());
}

#[test]
fn a_linearizable_read_that_asked_nobody_is_caught() {
    assert!(caught_by(Planted::ReadWithoutRound, 1..40, |_| {}).is_some());
}

#[test]
fn a_forgotten_vote_is_caught() {
    // Nothing but elections between rivals: a vote that is given twice must meet its moment.
    let shape = |shape: &mut Shape| {
        shape.members = 3;
        shape.clients = 1;
        shape.holders = 0;
        shape.latency = Duration::from_millis(1);
        shape.storm = Duration::from_secs(20);
        shape.trouble_every = Duration::from_millis(200);
        shape.troubles = vec![Trouble::Rivals];
    };
    assert!(caught_by(Planted::ForgetVote, 1..200, shape).is_some());
}

#[test]
fn a_comparison_that_is_wrong_is_caught() {
    // All stores are equal, so whoever is blamed is blamed for nothing.
    const OFTEN: Option<Duration> = Some(Duration::from_millis(300));
    let now = |shape: &mut Shape| {
        shape.members = 3;
        shape.checks = CheckPolicy { every: OFTEN, ..CheckPolicy::OFF };
    };
    let compactions = |shape: &mut Shape| {
        shape.members = 3;
        shape.checks = CheckPolicy { compactions_every: OFTEN, ..CheckPolicy::OFF };
    };
    let shapes: [fn(&mut Shape); 2] = [now, compactions];
    for shape in shapes {
        let what = (1..30).find_map(|seed| {
            let run = run_shaped(seed, Scope::Plain, Planted::HashWrongly, Voice::Silent, shape);
            run.err().map(|failure| failure.to_string())
        });
        let what = what.expect("nobody is blamed");
        assert!(what.contains("has other data"), "{what}");
    }
}

#[test]
fn a_seed_replays_to_the_last_byte() {
    for (seed, scope) in [(3, Scope::Plain), (4, Scope::Full)] {
        let first = run(seed, scope, Planted::Nothing, Voice::Silent);
        let first = first.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(0 < first.told && 0 < first.revisions);
        assert_eq!(run(seed, scope, Planted::Nothing, Voice::Silent), Ok(first));
    }
}
