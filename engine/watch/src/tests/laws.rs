//! The rules of watches, one by one.

use super::*;

fn created(world: &mut World, request: &WatchCreateRequest) -> i64 {
    world.create(STREAM, request);
    let reply = world.reply();
    assert!(reply.created && !reply.canceled, "{reply:?}");
    assert!(reply.events.is_empty());
    reply.watch_id
}

fn refused(world: &mut World, request: &WatchCreateRequest) -> String {
    world.create(STREAM, request);
    let reply = world.reply();
    assert!(reply.created && reply.canceled);
    assert_eq!(reply.watch_id, -1);
    assert_eq!(reply.header.unwrap().revision, world.revision);
    reply.cancel_reason
}

#[test]
fn a_watch_hears_what_happens_to_its_keys_after_its_creation() {
    let mut world = World::new(options());
    world.put("a", "0");
    world.create(STREAM, &watch("a", "c"));
    let reply = world.reply();
    assert_eq!((reply.created, reply.canceled, reply.watch_id), (true, false, 0));
    let header = reply.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id, header.raft_term), (11, 12, 3));
    assert_eq!(header.revision, 2);
    world.put("b", "1");
    world.put("c", "2");
    world.txn(&[Op::Put("aa", "3"), Op::Delete("a"), Op::Put("z", "4")]);
    assert_eq!(told(&world.reply()), ["+b=1@3"]);
    let reply = world.reply();
    assert_eq!(told(&reply), ["+aa=3@5", "-a@5"]);
    assert_eq!(reply.header.unwrap().revision, 5);
    let deleted = reply.events[1].kv.clone().unwrap();
    assert_eq!((deleted.create_revision, deleted.version, deleted.lease), (0, 0, 0));
    let put = reply.events[0].kv.clone().unwrap();
    assert_eq!((put.create_revision, put.version), (5, 1));
    world.silent();
}

#[test]
fn an_empty_key_and_an_end_of_one_zero_byte_mean_everything() {
    let mut world = World::new(options());
    created(&mut world, &watch("", "\0"));
    created(&mut world, &watch("", ""));
    world.put("q", "1");
    world.put("\0", "2");
    assert_eq!(world.reply().watch_id, 0);
    assert_eq!(world.replies[&STREAM].len(), 2);
}

#[test]
fn creations_that_cannot_be_are_refused_and_leave_nothing() {
    let mut world = World::new(options());
    assert_eq!(refused(&mut world, &watch("b", "a")), "mvcc: watcher range is empty");
    assert_eq!(refused(&mut world, &watch("b", "b")), "mvcc: watcher range is empty");
    let mut request = watch("a", "");
    request.start_revision = -1;
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(refused(&mut world, &request), compacted);
    let mut request = watch("a", "");
    request.watch_id = 5;
    assert_eq!(created(&mut world, &request), 5);
    let duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
    assert_eq!(refused(&mut world, &request), duplicate);
    world.hub.cancel(STREAM, 5);
    world.drain();
    world.reply();
    assert_eq!(created(&mut world, &request), 5);
    request.watch_id = -9;
    assert_eq!(created(&mut world, &request), -9);
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    world.hub.refuse(STREAM, denied, world.store());
    world.drain();
    assert_eq!(world.reply().cancel_reason, denied);
    assert_eq!(world.hub.watchers(), 2);
}

#[test]
fn a_cancelled_watch_is_told_so_once_and_hears_no_more() {
    let mut world = World::new(options());
    let id = created(&mut world, &watch("a", ""));
    world.hub.cancel(STREAM, id);
    world.hub.cancel(STREAM, id);
    world.hub.cancel(STREAM, 99);
    world.hub.cancel(StreamId(1), id);
    world.put("a", "1");
    let reply = world.reply();
    assert_eq!((reply.canceled, reply.watch_id, reply.created), (true, id, false));
    assert_eq!((reply.cancel_reason.as_str(), reply.compact_revision), ("", 0));
    world.silent();
}

#[test]
fn a_watch_from_the_past_replays_it_and_goes_on_at_the_head() {
    let mut world = World::new(options());
    for n in 0..5 {
        world.put("a", &n.to_string());
    }
    let mut request = watch("a", "");
    request.start_revision = 3;
    created(&mut world, &request);
    world.put("a", "new");
    world.silent();
    world.settle();
    world.put("a", "last");
    let mut heard = told(&world.reply());
    while world.replies[&STREAM].front().is_some() {
        heard.extend(told(&world.reply()));
    }
    assert_eq!(heard, ["+a=1@3", "+a=2@4", "+a=3@5", "+a=4@6", "+a=new@7", "+a=last@8"]);
}

#[test]
fn a_watch_for_the_future_hears_nothing_before_it() {
    let mut world = World::new(options());
    let mut request = watch("a", "");
    request.start_revision = 4;
    created(&mut world, &request);
    for n in 2..6 {
        world.put("a", &n.to_string());
    }
    assert_eq!(told(&world.reply()), ["+a=4@4"]);
    assert_eq!(told(&world.reply()), ["+a=5@5"]);
}

#[test]
fn a_watch_starts_after_what_was_decided_and_not_after_what_was_published() {
    let mut world = World::new(options());
    let changes = world.apply(&[Op::Put("a", "acknowledged")]);
    created(&mut world, &watch("a", ""));
    world.hub.publish(&changes, 2);
    world.drain();
    world.silent();
    world.put("a", "later");
    assert_eq!(told(&world.reply()), ["+a=later@3"]);
}

#[test]
fn a_compacted_start_is_created_and_cancelled_with_the_compact_revision() {
    let mut world = World::new(options());
    for n in 2..8 {
        world.put("a", &n.to_string());
    }
    world.compact = 5;
    let mut request = watch("a", "");
    request.start_revision = 4;
    let id = created(&mut world, &request);
    let reply = world.reply();
    assert_eq!((reply.watch_id, reply.canceled, reply.compact_revision), (id, true, 5));
    assert_eq!((reply.header.unwrap().revision, reply.cancel_reason.as_str()), (0, ""));
    request.start_revision = 5;
    created(&mut world, &request);
    world.settle();
    assert_eq!(told(&world.reply()), ["+a=5@5", "+a=6@6", "+a=7@7"]);
    assert_eq!(world.hub.watchers(), 1);
}

#[test]
fn filters_leave_out_puts_deletes_or_both() {
    let mut world = World::new(options());
    for filters in [vec![0], vec![1], vec![0, 1], vec![9]] {
        let mut request = watch("a", "");
        request.filters = filters;
        created(&mut world, &request);
    }
    world.put("a", "1");
    world.txn(&[Op::Delete("a")]);
    let mut heard = BTreeMap::<_, Vec<_>>::new();
    while world.replies[&STREAM].front().is_some() {
        let reply = world.reply();
        heard.entry(reply.watch_id).or_default().extend(told(&reply));
    }
    assert_eq!(heard[&0], ["-a@3"]);
    assert_eq!(heard[&1], ["+a=1@2"]);
    assert_eq!(heard.get(&2), None);
    assert_eq!(heard[&3], ["+a=1@2", "-a@3"]);
}

#[test]
fn previous_pairs_come_with_those_who_asked() {
    let mut world = World::new(options());
    let mut request = watch("a", "");
    created(&mut world, &request);
    request.prev_kv = true;
    created(&mut world, &request);
    world.put("a", "1");
    // Nothing was replaced: no need to read.
    assert!(world.reads.is_empty());
    assert_eq!(told(&world.reply()), ["+a=1@2"]);
    assert_eq!(told(&world.reply()), ["+a=1@2"]);
    world.put("a", "2");
    assert_eq!(told(&world.reply()), ["+a=2@3"]);
    world.silent();
    world.txn(&[Op::Delete("a")]);
    assert_eq!(told(&world.reply()), ["-a@4"]);
    world.settle();
    let mut heard = told(&world.reply());
    heard.extend(told(&world.reply()));
    assert_eq!(heard, ["+a=2@3<1", "-a@4<2"]);
}

#[test]
fn compaction_takes_nothing_from_a_watch_that_keeps_up() {
    let mut world = World::new(options());
    let mut request = watch("a", "");
    request.prev_kv = true;
    created(&mut world, &request);
    for n in 0..4 {
        world.put("a", &n.to_string());
    }
    world.compact = 5;
    world.hub.compacted(5);
    assert_eq!(told(&world.reply()), ["+a=0@2"]);
    world.settle();
    let mut heard = told(&world.reply());
    heard.extend(told(&world.reply()));
    assert_eq!(heard, ["+a=1@3<0", "+a=2@4<1", "+a=3@5<2"]);
    // Whoever comes later cannot know what was before the compact revision.
    request.start_revision = 5;
    created(&mut world, &request);
    world.settle();
    assert_eq!(told(&world.reply()), ["+a=3@5"]);
}

#[test]
fn a_slow_stream_loses_nothing_and_holds_nobody() {
    let mut world = World::new(options());
    created(&mut world, &watch("a", ""));
    world.create(StreamId(8), &watch("a", ""));
    world.hub.stream_blocked(STREAM);
    for n in 2..6 {
        world.put("a", &n.to_string());
    }
    world.silent();
    assert!(world.reads.is_empty());
    assert_eq!(world.replies[&StreamId(8)].len(), 5);
    assert_eq!(world.hub.watchers_away(), 1);
    world.hub.stream_writable(STREAM);
    world.drain();
    world.settle();
    assert_eq!(told(&world.reply()), ["+a=2@2", "+a=3@3", "+a=4@4", "+a=5@5"]);
    assert_eq!(world.hub.watchers_away(), 0);
}

#[test]
fn a_slow_stream_that_compaction_overtakes_is_told() {
    let mut world = World::new(options());
    let id = created(&mut world, &watch("a", ""));
    world.hub.stream_blocked(STREAM);
    for n in 2..6 {
        world.put("a", &n.to_string());
    }
    world.compact = 4;
    world.hub.compacted(4);
    world.drain();
    world.silent();
    world.hub.stream_writable(STREAM);
    world.drain();
    let reply = world.reply();
    assert_eq!((reply.watch_id, reply.canceled, reply.compact_revision), (id, true, 4));
    assert_eq!(world.hub.watchers(), 0);
}

#[test]
fn history_that_is_gone_cancels_and_the_others_read_on() {
    let mut world = World::new(options());
    for n in 2..9 {
        world.put("a", &n.to_string());
    }
    let mut request = watch("a", "");
    request.start_revision = 2;
    created(&mut world, &request);
    request.start_revision = 8;
    created(&mut world, &request);
    let jobs: Vec<_> = world.reads.keys().copied().collect();
    for job in jobs {
        let read = world.reads.remove(&job).unwrap();
        match read.from.main {
            2 => world.hub.history(job, History::Compacted { main: 6 }),
            _ => world.hub.history(job, History::Records { records: vec![], upto: 8 }),
        }
    }
    world.drain();
    assert_eq!(world.reply().compact_revision, 6);
    assert_eq!(world.hub.watchers(), 1);
}

#[test]
fn large_replies_are_cut_between_events_for_those_who_asked() {
    let mut world = World::new(Options { reply_bytes_max: 100, ..options() });
    let mut request = watch("a", "z");
    created(&mut world, &request);
    request.fragment = true;
    created(&mut world, &request);
    let value = "x".repeat(30);
    let keys = ["a", "b", "c", "d", "e"];
    world.txn(&keys.map(|key| Op::Put(key, &value)));
    let whole = world.reply();
    assert_eq!((whole.events.len(), whole.fragment), (5, false));
    let mut events = Vec::new();
    loop {
        let piece = world.reply();
        assert!(piece.events.len() == 1 || piece.encoded_len() < 100);
        events.extend(piece.events);
        if !piece.fragment {
            break;
        }
    }
    assert_eq!(events, whole.events);
    world.silent();
}

#[test]
fn a_replay_puts_at_most_a_thousand_revisions_into_one_reply() {
    let mut world = World::new(options());
    for n in 0..2500 {
        world.txn(&[Op::Put("a", &n.to_string()), Op::Put("b", "")]);
    }
    let mut request = watch("a", "z");
    request.start_revision = 2;
    created(&mut world, &request);
    world.settle();
    let lens: Vec<_> = world.replies[&STREAM].iter().map(|reply| reply.events.len()).collect();
    assert_eq!(lens, [2000, 2000, 1000]);
}

#[test]
fn a_stream_that_keeps_up_learns_its_progress() {
    let mut world = World::new(options());
    world.hub.progress(STREAM, 1);
    world.drain();
    world.silent();
    created(&mut world, &watch("a", ""));
    world.put("b", "1");
    world.hub.progress(STREAM, world.revision);
    world.drain();
    let reply = world.reply();
    assert_eq!((reply.watch_id, reply.header.unwrap().revision), (-1, 2));
    assert!(reply.events.is_empty() && !reply.created && !reply.canceled);
}

#[test]
fn progress_is_not_told_while_a_watch_is_behind_or_waits_for_the_future() {
    let mut world = World::new(options());
    world.put("a", "1");
    let mut request = watch("a", "");
    request.start_revision = 2;
    created(&mut world, &request);
    world.hub.progress(STREAM, world.revision);
    world.settle();
    world.reply();
    world.silent();
    world.hub.progress(STREAM, world.revision);
    world.drain();
    assert_eq!(world.reply().header.unwrap().revision, 2);
    request.start_revision = 3;
    let id = created(&mut world, &request);
    world.hub.progress(STREAM, world.revision);
    world.drain();
    world.silent();
    world.hub.cancel(STREAM, id);
    world.drain();
    world.reply();
    world.silent();
}

#[test]
fn progress_waits_for_what_is_on_its_way() {
    let mut world = World::new(options());
    let mut request = watch("a", "");
    request.prev_kv = true;
    created(&mut world, &request);
    world.put("a", "1");
    world.reply();
    let changes = world.apply(&[Op::Put("a", "2")]);
    world.hub.progress(STREAM, world.revision);
    world.drain();
    world.silent();
    world.hub.publish(&changes, world.revision);
    world.drain();
    world.silent();
    world.settle();
    assert_eq!(told(&world.reply()), ["+a=2@3<1"]);
    let reply = world.reply();
    assert_eq!((reply.watch_id, reply.header.unwrap().revision), (-1, 3));
}

#[test]
fn a_quiet_watch_hears_of_progress_once_an_interval() {
    let mut world = World::new(options());
    created(&mut world, &watch("a", ""));
    assert_eq!(world.hub.poll_deadline(), None);
    let mut request = watch("a", "");
    request.progress_notify = true;
    let id = created(&mut world, &request);
    let due = world.hub.poll_deadline().unwrap();
    assert!(Duration::from_secs(600) <= due.since(world.now));
    assert!(due.since(world.now) <= Duration::from_secs(660));
    world.hub.tick(Instant(due.0 - 1));
    world.drain();
    world.silent();
    world.hub.tick(due);
    world.drain();
    let reply = world.reply();
    assert_eq!((reply.watch_id, reply.header.unwrap().revision), (id, 1));
    world.silent();
    // Events count as news: the next notice is left out, the one after comes.
    world.put("a", "1");
    world.reply();
    world.reply();
    for expected in [0, 1] {
        world.hub.tick(world.hub.poll_deadline().unwrap());
        world.drain();
        assert_eq!(world.replies[&STREAM].len(), expected);
    }
    world.reply();
    world.hub.close_stream(STREAM);
    assert_eq!(world.hub.poll_deadline(), None);
}

#[test]
fn watches_of_one_group_share_the_bytes_of_an_event() {
    let mut world = World::new(options());
    for stream in 0..10 {
        world.create(StreamId(stream), &watch("a", "b"));
    }
    let changes = world.apply(&[Op::Put("a", "1")]);
    world.hub.publish(&changes, world.revision);
    let mut places = Vec::new();
    while let Some(effect) = world.hub.poll_effect() {
        match effect {
            Effect::Send { message, .. } => places.push(message.events.as_ptr()),
            Effect::ReadHistory(_) => panic!("nobody is behind"),
        }
    }
    places.dedup();
    assert_eq!(places.len(), 1);
}

#[test]
fn one_turn_sends_a_stream_no_more_than_its_share() {
    let mut world = World::new(Options { stream_bytes_max: 50, ..options() });
    for _ in 0..50 {
        created(&mut world, &watch("a", ""));
    }
    let changes = world.apply(&[Op::Put("a", &"v".repeat(60))]);
    world.hub.publish(&changes, world.revision);
    world.drain();
    assert_eq!(world.replies[&STREAM].len(), 1);
    world.settle();
    assert_eq!(world.replies[&STREAM].len(), 50);
    assert_eq!(world.hub.watchers_away(), 0);
}

#[test]
fn a_watch_in_a_used_slot_does_not_get_the_records_of_the_one_before() {
    let mut world = World::new(options());
    world.put("a", "1");
    let mut request = watch("a", "");
    request.start_revision = 2;
    let first = created(&mut world, &request);
    let job = *world.reads.keys().next().unwrap();
    world.hub.cancel(STREAM, first);
    world.drain();
    world.reply();
    created(&mut world, &request);
    world.answer(job, 2);
    world.silent();
    world.settle();
    assert_eq!(told(&world.reply()), ["+a=1@2"]);
    world.silent();
}
