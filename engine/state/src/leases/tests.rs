//! Laws of the leases.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Instant {
    Instant(seconds * SECOND)
}

fn ttl(ttl_s: i64) -> Granted {
    Granted { ttl_s, remaining_s: 0 }
}

fn primary() -> Leases {
    let mut leases = Leases::new(CheckpointPolicy::Off);
    leases.promote(at(0), Duration::ZERO);
    leases
}

fn renewed(ttl_s: i64) -> KeepAlive {
    KeepAlive::Renewed { ttl_s, checkpoint: None }
}

#[test]
fn a_lease_never_ends_before_its_time() {
    let mut leases = primary();
    leases.grant(7, ttl(10));
    assert_eq!(leases.poll_deadline(), Some(at(0)));
    leases.start(at(100));
    assert_eq!(leases.poll_deadline(), Some(at(110)));
    assert_eq!(leases.poll_expired(Instant(110 * SECOND - 1)), []);
    assert_eq!(leases.poll_expired(at(110)), [7]);
}

#[test]
fn a_renewal_starts_the_time_over() {
    let mut leases = primary();
    leases.grant(7, ttl(10));
    leases.start(at(0));
    assert_eq!(leases.keep_alive(at(9), 7), renewed(10));
    assert_eq!(leases.poll_expired(at(10)), []);
    assert_eq!(leases.poll_deadline(), Some(at(19)));
    assert_eq!(leases.status(at(12), 7), Some(LeaseStatus { remaining_s: 7, granted_ttl_s: 10 }));
    assert_eq!(leases.poll_expired(at(19)), [7]);
}

#[test]
fn a_lease_that_is_over_is_not_renewed() {
    let mut leases = primary();
    leases.grant(7, ttl(10));
    leases.start(at(0));
    assert_eq!(leases.keep_alive(at(10), 7), KeepAlive::Expired);
    assert_eq!(leases.poll_expired(at(10)), [7]);
    assert_eq!(leases.keep_alive(at(10), 7), KeepAlive::Expired);
    leases.remove(7);
    assert_eq!(leases.keep_alive(at(10), 7), KeepAlive::Unknown);
    assert_eq!(leases.status(at(10), 7), None);
}

#[test]
fn an_end_is_proposed_once_unless_it_is_withdrawn() {
    let mut leases = primary();
    leases.grant(7, ttl(10));
    leases.start(at(0));
    assert_eq!(leases.poll_expired(at(11)), [7]);
    assert_eq!(leases.poll_expired(at(1000)), []);
    assert_eq!(leases.poll_deadline(), None);
    leases.withdraw(&[7, 8]);
    assert_eq!(leases.keep_alive(at(12), 7), KeepAlive::Expired);
    assert_eq!(leases.poll_expired(at(12)), [7]);
}

#[test]
fn one_poll_ends_at_most_a_thousand() {
    let mut leases = primary();
    (1..=2500).for_each(|id| leases.grant(id, ttl(5)));
    leases.start(at(0));
    let mut polled = Vec::new();
    for expected in [1000, 1000, 500, 0] {
        let ids = leases.poll_expired(at(5));
        assert_eq!(ids.len(), expected);
        polled.extend(ids);
    }
    polled.sort_unstable();
    assert_eq!(polled, (1..=2500).collect::<Vec<_>>());
}

#[test]
fn a_new_leader_starts_every_lease_over() {
    let mut leases = Leases::new(CheckpointPolicy::Off);
    leases.grant(1, ttl(10));
    leases.grant(2, Granted { ttl_s: 100, remaining_s: 20 });
    assert_eq!(leases.keep_alive(at(50), 1), KeepAlive::NotPrimary);
    assert_eq!(leases.status(at(50), 1), None);
    assert_eq!(leases.poll_deadline(), None);
    leases.promote(at(50), Duration::from_secs(1));
    assert_eq!(leases.status(at(50), 1).map(|status| status.remaining_s), Some(11));
    assert_eq!(leases.status(at(50), 2).map(|status| status.remaining_s), Some(21));
    assert_eq!(leases.poll_expired(at(61)), [1]);
    leases.demote();
    assert_eq!(leases.poll_expired(at(1000)), []);
    assert_eq!(leases.keep_alive(at(1000), 2), KeepAlive::NotPrimary);
    // What was proposed under the old leadership may never have been logged: it comes up again.
    leases.promote(at(1000), Duration::ZERO);
    assert_eq!(leases.poll_expired(at(1010)), [1]);
}

#[test]
fn a_follower_knows_no_times_but_counts_from_the_promotion() {
    let mut leases = primary();
    leases.demote();
    leases.grant(3, ttl(10));
    leases.start(at(5));
    assert_eq!(leases.status(at(5), 3), None);
    leases.promote(at(100), Duration::ZERO);
    assert_eq!(leases.poll_expired(at(109)), []);
    assert_eq!(leases.poll_expired(at(110)), [3]);
}

#[test]
fn leases_are_listed_by_when_they_end() {
    let mut leases = primary();
    for (id, ttl_s) in [(1, 30), (2, 10), (3, 20), (-4, 20)] {
        leases.grant(id, ttl(ttl_s));
    }
    assert_eq!(leases.ids_by_expiry(at(0)), [2, -4, 3, 1]);
    leases.keep_alive(at(9), 2);
    assert_eq!(leases.ids_by_expiry(at(9)), [2, -4, 3, 1]);
    leases.keep_alive(at(9), 3);
    assert_eq!(leases.ids_by_expiry(at(9)), [2, -4, 3, 1]);
    leases.keep_alive(at(15), 2);
    assert_eq!(leases.ids_by_expiry(at(15)), [-4, 2, 3, 1]);
}

#[test]
fn a_granted_revoked_and_granted_lease_runs_once() {
    let mut leases = primary();
    leases.grant(1, ttl(10));
    leases.remove(1);
    leases.grant(1, ttl(20));
    leases.start(at(0));
    assert_eq!(leases.poll_expired(at(10)), []);
    assert_eq!(leases.poll_expired(at(20)), [1]);
    leases.remove(1);
    leases.grant(1, ttl(20));
    assert_eq!(leases.poll_expired(at(39)), []);
    assert_eq!(leases.poll_expired(at(59)), [1]);
}

#[test]
fn long_leases_are_checkpointed_and_renewals_take_it_back() {
    let every = Duration::from_secs(300);
    let mut leases = Leases::new(CheckpointPolicy::Every(every));
    leases.promote(at(0), Duration::ZERO);
    leases.grant(1, ttl(1000));
    leases.grant(2, ttl(300));
    leases.start(at(0));
    assert_eq!(leases.poll_checkpoints(at(299)), []);
    let due = leases.poll_checkpoints(Instant(300 * SECOND + 1));
    assert_eq!(due, [LeaseCheckpoint { id: 1, remaining_s: 700 }]);
    assert_eq!(leases.poll_checkpoints(at(301)), []);
    let noted = leases.checkpoint(due[0]);
    assert_eq!(noted, Some(Granted { ttl_s: 1000, remaining_s: 700 }));
    let back = LeaseCheckpoint { id: 1, remaining_s: 0 };
    let answer = leases.keep_alive(at(400), 1);
    assert_eq!(answer, KeepAlive::Renewed { ttl_s: 1000, checkpoint: Some(back) });
    leases.checkpoint(back);
    assert_eq!(leases.keep_alive(at(401), 1), renewed(1000));
    // A lease renewed late in its life is checkpointed again.
    leases.keep_alive(at(599), 1);
    assert_eq!(leases.poll_checkpoints(at(601)), [LeaseCheckpoint { id: 1, remaining_s: 998 }]);
    leases.remove(1);
    assert_eq!(leases.poll_checkpoints(at(5000)), []);
}

#[test]
fn the_longest_lease_does_not_overflow() {
    let mut leases = primary();
    leases.grant(1, ttl(LEASE_TTL_S_MAX));
    leases.start(at(1));
    let status = leases.status(at(1), 1).expect("granted");
    assert_eq!(status.remaining_s, LEASE_TTL_S_MAX);
}
