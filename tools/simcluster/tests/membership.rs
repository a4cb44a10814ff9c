//! Plants bugs in changes of members and holds the simulator to finding them.

use std::time::Duration;

use ringleader_simcluster::plan::{Decay, Scope, Shape, Trouble};
use ringleader_simcluster::{Planted, Voice, run_shaped};

/// What the first seed that catches the bug says.
fn caught_by(planted: Planted, seeds: std::ops::Range<u64>, change: fn(&mut Shape)) -> String {
    let run = |seed| run_shaped(seed, Scope::Full, planted, Voice::Silent, change);
    let caught = seeds.into_iter().find_map(|seed| run(seed).err());
    caught.unwrap_or_else(|| panic!("{planted:?} was not caught")).what
}

/// Members come and go all the time.
fn busy(shape: &mut Shape) {
    shape.members = 3;
    shape.changes_every = Some(Duration::from_millis(100));
    shape.decay = Decay::None;
    shape.storm = Duration::from_secs(12);
    shape.drill = None;
    shape.troubles = Vec::new();
}

#[test]
fn a_learner_that_is_promoted_whatever_it_holds_is_caught() {
    let shape = |shape: &mut Shape| {
        busy(shape);
        shape.latency = Duration::from_millis(10);
    };
    let what = caught_by(Planted::PromoteBlindly, 1..60, shape);
    assert!(what.starts_with("members: learner"), "{what}");
}

#[test]
fn a_voter_that_is_added_while_others_never_started_is_caught() {
    let what = caught_by(Planted::AddBlindly, 1..60, |shape| {
        busy(shape);
        shape.members = 1;
    });
    assert!(what.starts_with("members: ") && what.contains("running of"), "{what}");
}

#[test]
fn a_removed_member_that_goes_on_and_answers_reads_is_caught() {
    let what = caught_by(Planted::ServeRemoved, 1..60, |shape| {
        busy(shape);
        shape.clients = 5;
        shape.think = Duration::from_millis(20);
        shape.troubles = vec![Trouble::Reset];
    });
    // By its old answers, or because it is never gone when everything else is set right.
    assert!(what.starts_with("order: ") || what.contains("to be repaired"), "{what}");
}
