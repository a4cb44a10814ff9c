//! Measures what a watch costs that nothing happens to, against its budget of 400 bytes.
//! Alone in its process, since it reads the resident size of the whole of it.

use std::time::Duration;

use base::Instant;
use bytes::Bytes;
use ringleader_watch::{Options, Store, StreamId, WatchHub};
use wire::etcdserverpb::WatchCreateRequest;

const WATCHES: usize = 400_000;

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Bytes per watch, and the hub, so that the next measurement does not use its memory again.
fn cost(range_end: fn(&str) -> String) -> (usize, WatchHub) {
    let options = Options {
        cluster_id: 1,
        member_id: 2,
        reply_bytes_max: 1 << 21,
        stream_bytes_max: 1 << 20,
        copy_bytes_max: 1 << 20,
        history_bytes_max: 1 << 20,
        jobs_max: 2,
        job_watchers_max: 64,
        watchers_max: usize::MAX,
        progress_interval: Duration::from_secs(600),
        seed: 1,
    };
    let store = Store { revision: 1, compact: 0 };
    let before = resident_bytes();
    let mut hub = WatchHub::new(options, store, 1);
    for n in 0..WATCHES {
        let key = format!("/registry/pods/namespace-{:04}/pod-{n:07}", n % 977);
        let request = WatchCreateRequest {
            range_end: Bytes::from(range_end(&key)),
            key: Bytes::from(key),
            ..WatchCreateRequest::default()
        };
        hub.create(Instant(0), StreamId(n as u64 / 1000), &request, store);
        while hub.poll_effect().is_some() {}
    }
    let after = resident_bytes();
    assert_eq!(hub.watchers(), WATCHES);
    ((after - before) / WATCHES, hub)
}

#[test]
fn an_idle_watch_stays_within_its_budget() {
    let (ranges, _kept) = cost(|key| format!("{key}0"));
    let (keys, _kept_too) = cost(|_| String::new());
    println!("idle watch of a 40-byte key: {keys} bytes, of a range: {ranges} bytes");
    assert!(keys <= 400, "{keys}");
    assert!(ranges <= 400, "{ranges}");
}
