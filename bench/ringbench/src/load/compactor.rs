//! Owns what `put` does beside putting: compacting now and then, and asking for the hash.
//! Invariant: a compaction that fails is told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::Task;
use wire::etcdserverpb::{
    CompactionRequest, HashKvRequest, HashKvResponse, RangeRequest, RangeResponse, StatusRequest,
    StatusResponse,
};
use wire::grpc::{decode, frame};
use wire::{Method, Status};

use crate::net::Link;
use crate::run::Seat;

/// Compactions in the background of core 0.
pub struct Compactor {
    task: Task<()>,
    counts: Rc<RefCell<Counts>>,
}

#[derive(Default)]
struct Counts {
    done: u64,
    failed: Option<String>,
}

/// Begins to compact; only one core does, and only if there is an interval.
pub fn start(interval: Duration, keep: i64, seat: &Rc<Seat>) -> Option<Compactor> {
    let link = seat.clients.first()?.link.clone();
    if seat.core != 0 || interval.is_zero() {
        return None;
    }
    let counts = Rc::new(RefCell::new(Counts::default()));
    let told = counts.clone();
    let task = glommio::spawn_local(async move {
        loop {
            glommio::timer::sleep(interval).await;
            match compact(&link, keep).await {
                Ok(()) => told.borrow_mut().done += 1,
                Err(status) => told.borrow_mut().failed = Some(status.message.into_owned()),
            }
        }
    });
    Some(Compactor { task, counts })
}

impl Compactor {
    /// Ends it. What was done, and what went wrong last.
    pub async fn end(self) -> Vec<String> {
        self.task.cancel().await;
        let counts = self.counts.borrow();
        let failed = counts.failed.as_ref().map(|why| format!("a compaction failed: {why}"));
        let done = format!("compacted {} times", counts.done);
        std::iter::once(done).chain(failed).collect()
    }
}

async fn compact(link: &Link, keep: i64) -> Result<(), Status> {
    let revision = revision(link).await? - keep;
    if revision <= 0 {
        return Ok(());
    }
    let request = CompactionRequest { revision, physical: false };
    link.unary(Method::Compact, frame(&request)).await.map(drop)
}

/// The revision of the store now.
pub async fn revision(link: &Link) -> Result<i64, Status> {
    let key = bytes::Bytes::from_static(b"foo");
    let request = RangeRequest { key, count_only: true, ..RangeRequest::default() };
    let reply = link.unary(Method::Range, frame(&request)).await?;
    let reply: RangeResponse = decode(reply)?;
    Ok(reply.header.unwrap_or_default().revision)
}

/// The hash of the first endpoint's store, as etcd's benchmark tells it.
pub async fn hash_kv(seat: &Rc<Seat>, endpoints: &[String]) -> Result<String, String> {
    let link = &seat.clients.first().ok_or("no client to ask for the hash")?.link;
    let told = |status: Status| format!("no hash: {}", status.message);
    let begun = Instant::now();
    let request = frame(&HashKvRequest { revision: 0 });
    let reply = link.unary(Method::HashKv, request).await.map_err(told)?;
    let hash: HashKvResponse = decode(reply).map_err(told)?;
    let took = begun.elapsed();
    let reply = link.unary(Method::Status, frame(&StatusRequest {})).await.map_err(told)?;
    let status: StatusResponse = decode(reply).map_err(told)?;
    Ok(format!(
        "HashKV Summary:\n\tHashKV: {}\n\tEndpoint: {}\n\tTime taken to get hashkv: {took:?}\n\tDB \
         size: {}",
        hash.hash,
        endpoints.first().map_or("", String::as_str),
        size(status.db_size),
    ))
}

/// A size by decimal units, as etcd's tools print it.
fn size(bytes: i64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit > 0 && value < 10.0 {
        true => format!("{value:.1} {}", UNITS[unit]),
        false => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_etcd_writes_them() {
        let sizes = [0, 999, 1500, 24_576, 6_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.5 kB", "25 kB", "6.0 MB"]);
    }
}
