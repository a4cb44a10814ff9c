//! Owns the cost of watches: finding who waits for a key, and handing an event to all of them.

use std::time::Duration;

use ::watch::{Effect, Index, Options, Span, Store, StreamId, WatchHub};
use base::limits::{
    WATCH_COPY_BYTES, WATCH_HISTORY_BYTES, WATCH_JOB_WATCHES, WATCH_JOBS, WATCH_STREAM_BYTES,
};
use base::{Change, ChangeKind, Instant, Rev};
use bytes::Bytes;
use divan::{Bencher, black_box};
use wire::etcdserverpb::WatchCreateRequest;

use crate::data::{key, keys, ring, value};

/// Watches of one key each.
const SINGLES: u64 = 10_000;
/// Watches of ranges, which overlap: ten hold a key.
const RANGES: u16 = 1_000;
/// Two first bytes from a range to the next, and within one.
const STEP: u16 = 65;
const WIDTH: u16 = 10 * STEP;
/// Watches on one stream.
const STREAM_WATCHES: u64 = 10;

#[divan::bench]
fn match_key(bencher: Bencher) {
    let keys = keys(SINGLES);
    let mut index = Index::new();
    for (member, key) in (0..).zip(&keys) {
        index.insert(member, Span::of(key, &[]).expect("one key"));
    }
    for range in 0..RANGES {
        let first = range * STEP;
        let last = first.saturating_add(WIDTH);
        let span = Span::of(&first.to_be_bytes(), &last.to_be_bytes()).expect("a range");
        index.insert(SINGLES as u32 + u32::from(range), span);
    }
    let mut next = ring(keys.len());
    bencher.bench_local(|| {
        let mut found = 0;
        index.stab(black_box(&keys[next()]), |_| found += 1);
        found
    });
}

fn hub(watchers: u64, watched: &Bytes) -> WatchHub {
    let options = Options {
        cluster_id: 0x0cdf_8181_94e3_a8ed,
        member_id: 0x8e9e_05c5_2164_694d,
        reply_bytes_max: 2 << 20,
        stream_bytes_max: WATCH_STREAM_BYTES,
        copy_bytes_max: WATCH_COPY_BYTES,
        history_bytes_max: WATCH_HISTORY_BYTES,
        jobs_max: WATCH_JOBS,
        job_watchers_max: WATCH_JOB_WATCHES,
        watchers_max: 1 << 20,
        progress_interval: Duration::from_secs(600),
        seed: 1,
    };
    let store = Store { revision: 1, compact: 0 };
    let mut hub = WatchHub::new(options, store, 1);
    let request = WatchCreateRequest { key: watched.clone(), ..WatchCreateRequest::default() };
    for number in 0..watchers {
        hub.create(Instant(0), StreamId(number / STREAM_WATCHES), &request, store);
    }
    assert_eq!(drain(&mut hub), watchers);
    hub
}

/// Takes all replies; how many.
fn drain(hub: &mut WatchHub) -> u64 {
    let mut replies = 0;
    while let Some(effect) = hub.poll_effect() {
        match black_box(effect) {
            Effect::Send { .. } => replies += 1,
            Effect::ReadHistory(read) => unreachable!("nobody is behind: {read:?}"),
        }
    }
    replies
}

/// One event to watchers of its key.
#[divan::bench(args = [1, 1000])]
fn publish(bencher: Bencher, watchers: u64) {
    let watched = key(1);
    let mut hub = hub(watchers, &watched);
    let kind = ChangeKind::Put { value: value(), create: 2, version: 1, lease: 0 };
    let mut change = Change { rev: Rev::new(1, 0), key: watched, kind, prev: None };
    bencher.bench_local(|| {
        change.rev.main += 1;
        hub.publish(std::slice::from_ref(&change), change.rev.main);
        assert_eq!(drain(&mut hub), watchers);
    });
}
