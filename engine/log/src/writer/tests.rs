//! Laws of the writer: order, gathering, roll-over, promises. Completions are handed in by hand.

use base::limits::LOG_FLUSHES_MAX;

use super::*;
use crate::batch::{Header, Identity};
use crate::position::Geometry;
use crate::record::{Entry, EntryKind};
use crate::segments::Kept;
use base::Prng;

const IDENTITY: Identity = Identity { cluster: 1, member: 2 };

fn config(segment_bytes: u64) -> WriterConfig {
    WriterConfig {
        geometry: Geometry::of(segment_bytes),
        entry_bytes_max: 8000,
        batch_bytes: 8192,
        batch_backlog_bytes: 16384,
        kept: Kept { segments: 0, segments_max: 0 },
        ..WriterConfig::standard(IDENTITY)
    }
}

/// A writer with its first segment prepared.
fn started(segment_bytes: u64) -> Writer {
    let mut writer = Writer::create(config(segment_bytes));
    upkeep(&mut writer);
    writer
}

fn upkeep(writer: &mut Writer) -> Vec<IoRequest> {
    let mut done = vec![];
    while let Some(request) = writer.poll_upkeep() {
        match request {
            IoRequest::Prepare { file: FileId::Log(number), .. } => writer.prepared(number),
            IoRequest::Remove { file: FileId::Log(number) } => writer.removed(number),
            ref other => unreachable!("{other:?}"),
        }
        done.push(request);
    }
    done
}

fn put(writer: &mut Writer, index: u64, bytes: usize) -> Lsn {
    let data = vec![7; bytes].into();
    let entry = Entry { term: 1, index, kind: EntryKind::Normal, data };
    writer.append(Record::Entry(entry), Urgency::Wait)
}

fn state(writer: &mut Writer, commit: u64, urgency: Urgency) -> Lsn {
    writer.append(Record::HardState(HardState { term: 1, vote: 1, commit }), urgency)
}

fn header(flush: &Flush) -> Header {
    Header::take(&flush.bytes).unwrap().0
}

#[test]
fn an_idle_log_is_written_at_once_and_a_busy_one_gathers() {
    let mut writer = started(1 << 20);
    put(&mut writer, 1, 10);
    let first = writer.poll_flush(Backlog::Short).unwrap();
    assert_eq!((first.file, first.offset, first.bytes.len()), (FileId::Log(1), 0, 4096));
    for index in 2..100 {
        put(&mut writer, index, 10);
        let enough = writer.waiting_bytes() >= 8192 / 4;
        let flush = writer.poll_flush(Backlog::Short);
        assert_eq!(flush.is_some(), enough, "{index}");
        if flush.is_some() {
            break;
        }
    }
    put(&mut writer, 100, 10);
    assert_eq!(writer.poll_flush(Backlog::Short), None);
    writer.flushed(Ticket(1));
    writer.flushed(Ticket(2));
    assert_eq!(header(&writer.poll_flush(Backlog::Short).unwrap()).records, 1);
}

#[test]
fn a_backlog_makes_batches_larger() {
    let mut writer = started(1 << 20);
    for index in 1..100 {
        put(&mut writer, index, 500);
    }
    assert_eq!(writer.poll_flush(Backlog::Short).unwrap().bytes.len(), 8192);
    assert_eq!(writer.poll_flush(Backlog::Long).unwrap().bytes.len(), 16384);
}

#[test]
fn durability_is_reported_in_order_whatever_the_order_of_completions() {
    for seed in 0..100 {
        println!("seed {seed}");
        let mut prng = Prng::from_seed(seed);
        let mut writer = started(1 << 20);
        let mut in_flight: Vec<Ticket> = vec![];
        let mut done = vec![false; 1];
        let mut ends = vec![Lsn(0)];
        let mut next = 1;
        for _ in 0..200 {
            match prng.below(3) {
                0 => {
                    let lsn = put(&mut writer, next, 3000);
                    assert_eq!(lsn, Lsn(next));
                    next += 1;
                }
                1 => {
                    if let Some(flush) = writer.poll_flush(Backlog::Short) {
                        assert_eq!(flush.ticket.0 as usize, ends.len());
                        let records = u64::from(header(&flush).records);
                        ends.push(Lsn(ends.last().unwrap().0 + records));
                        in_flight.push(flush.ticket);
                        done.push(false);
                    }
                }
                _ if !in_flight.is_empty() => {
                    let at = prng.below(in_flight.len() as u64) as usize;
                    let ticket = in_flight.remove(at);
                    done[ticket.0 as usize] = true;
                    writer.flushed(ticket);
                }
                _ => {}
            }
            let prefix = done[1..].iter().take_while(|done| **done).count();
            assert_eq!(writer.durable().lsn, ends[prefix]);
            assert!(done.len() - 1 - prefix <= LOG_FLUSHES_MAX);
        }
    }
}

#[test]
fn blocks_are_handed_out_once_and_every_header_tells_the_truth() {
    let mut writer = started(64 << 10);
    let (mut end, mut previous) = (Place { segment: 1, offset: 0 }, 0);
    for index in 1..500 {
        state(&mut writer, index - 1, Urgency::Ride);
        put(&mut writer, index, (index as usize * 37) % 7900);
        upkeep(&mut writer);
        let durable = writer.durable().position;
        let flush = writer.poll_flush(Backlog::Short).unwrap();
        let (header, sum) = Header::take(&flush.bytes).unwrap();
        if header.place.segment == end.segment {
            assert_eq!(header.place, end);
        } else {
            assert_eq!(header.place, Place { segment: end.segment + 1, offset: 0 });
        }
        assert_eq!((header.previous, header.synced_through), (previous, durable));
        assert_eq!(header.batch_bytes(), flush.bytes.len() as u64);
        let offset = header.place.offset + flush.bytes.len() as u32;
        (end, previous) = (Place { offset, ..header.place }, sum);
        assert!(offset <= 64 << 10);
        writer.flushed(flush.ticket);
        assert_eq!(writer.durable().position, writer.config.geometry.position(end));
    }
    assert!(end.segment > 20);
}

#[test]
fn a_new_segment_repeats_the_hard_state_so_that_older_ones_can_go() {
    let mut writer = started(32 << 10);
    state(&mut writer, 0, Urgency::Wait);
    let mut removed = 0;
    for index in 1..80 {
        put(&mut writer, index, 5000);
        let flush = writer.poll_flush(Backlog::Short).unwrap();
        if flush.offset == 0 && index > 1 {
            let mut payload = flush.bytes.slice(HEADER_BYTES..);
            let first = Record::take(&mut payload).unwrap();
            assert_eq!(first, Record::HardState(HardState { term: 1, vote: 1, commit: 0 }));
        }
        writer.flushed(flush.ticket);
        writer.release(index);
        let (FileId::Log(segment), first) = (flush.file, writer.first_needed()) else {
            unreachable!()
        };
        assert_eq!(first, Some(segment));
        removed += upkeep(&mut writer)
            .iter()
            .filter(|request| matches!(request, IoRequest::Prepare { recycle: Some(_), .. }))
            .count();
    }
    assert!(removed > 10, "segments are recycled: {removed}");
}

#[test]
fn without_a_prepared_segment_nothing_is_flushed() {
    let mut writer = Writer::create(config(64 << 10));
    put(&mut writer, 1, 10);
    assert_eq!(writer.poll_flush(Backlog::Short), None);
    upkeep(&mut writer);
    assert!(writer.poll_flush(Backlog::Short).is_some());
}

#[test]
fn what_rides_along_causes_no_flush_and_the_latest_state_wins() {
    let mut writer = started(64 << 10);
    assert_eq!(state(&mut writer, 1, Urgency::Ride), state(&mut writer, 2, Urgency::Ride));
    assert_eq!(writer.poll_flush(Backlog::Short), None);
    assert_eq!(state(&mut writer, 3, Urgency::Wait), Lsn(1));
    let flush = writer.poll_flush(Backlog::Short).unwrap();
    let record = Record::take(&mut flush.bytes.slice(HEADER_BYTES..)).unwrap();
    assert_eq!(record, Record::HardState(HardState { term: 1, vote: 1, commit: 3 }));
    writer.flushed(flush.ticket);
    assert_eq!(writer.durable().lsn, Lsn(1));
}

#[test]
fn an_idle_log_is_sealed_once() {
    let mut writer = started(64 << 10);
    writer.seal();
    assert_eq!(writer.poll_flush(Backlog::Short), None, "nothing to promise");
    put(&mut writer, 1, 10);
    let flush = writer.poll_flush(Backlog::Short).unwrap();
    writer.seal();
    assert_eq!(writer.poll_flush(Backlog::Short), None, "not acknowledged yet");
    writer.flushed(flush.ticket);
    state(&mut writer, 1, Urgency::Ride);
    writer.seal();
    let seal = writer.poll_flush(Backlog::Short).unwrap();
    assert_eq!(
        (header(&seal).records, header(&seal).synced_through),
        (1, Position(64 * 1024 + 4096))
    );
    writer.flushed(seal.ticket);
    writer.seal();
    assert_eq!(writer.poll_flush(Backlog::Short), None, "a seal needs no seal");
    assert!(writer.is_idle());
}
