//! Laws of watches.

use crate::{Broken, Verdict, World, broken, laws, same};
use etcd_client::{
    CompactionOptions, EventType, Txn, TxnOp, WatchFilterType, WatchOptions, WatchResponse,
    WatchStream,
};

laws![
    a_watch_sees_puts_and_deletes,
    a_prefix_is_watched,
    the_past_is_replayed_in_order,
    previous_pairs_are_told,
    filters_leave_out_their_kind,
    several_watches_share_a_stream,
    a_txn_comes_in_one_reply,
    a_cancelled_watch_says_so_and_is_silent,
    a_compacted_start_cancels_the_watch,
    progress_is_told_when_asked,
    an_id_in_use_is_refused,
    fragments_come_whole,
];

async fn next(stream: &mut WatchStream) -> Result<WatchResponse, Broken> {
    stream.message().await?.ok_or(broken("the stream ended".to_owned()))
}

async fn created(stream: &mut WatchStream) -> Result<WatchResponse, Broken> {
    let reply = next(stream).await?;
    if reply.created() { Ok(reply) } else { Err(broken(format!("not created: {reply:?}"))) }
}

/// Events as text, until `wanted` have come.
async fn events(
    world: &World,
    stream: &mut WatchStream,
    wanted: usize,
) -> Result<Vec<String>, Broken> {
    let mut seen = Vec::new();
    while seen.len() < wanted {
        for event in next(stream).await?.events() {
            let kind = match event.event_type() {
                EventType::Put => "put",
                EventType::Delete => "delete",
            };
            let pair = event.kv().ok_or(broken("an event without a pair".to_owned()))?;
            let key = String::from_utf8_lossy(pair.key()).replace(&world.prefix, "");
            let value = String::from_utf8_lossy(pair.value()).into_owned();
            let before = event.prev_kv().map_or(String::new(), |pair| {
                format!(" before {}", String::from_utf8_lossy(pair.value()))
            });
            seen.push(format!("{kind} {key} {value}{before}"));
        }
    }
    Ok(seen)
}

async fn a_watch_sees_puts_and_deletes(mut world: World) -> Verdict {
    let key = world.key("a");
    let mut stream = world.client.watch(key.as_str(), None).await?;
    created(&mut stream).await?;
    world.client.put(key.as_str(), "1", None).await?;
    world.client.put(world.key("b"), "x", None).await?;
    world.client.delete(key.as_str(), None).await?;
    world.client.put(key.as_str(), "2", None).await?;
    let seen = events(&world, &mut stream, 3).await?;
    same!(seen, ["put a 1", "delete a ", "put a 2"]);
    Ok(())
}

async fn a_prefix_is_watched(mut world: World) -> Verdict {
    let options = WatchOptions::new().with_prefix();
    let mut stream = world.client.watch(world.prefix.as_str(), Some(options)).await?;
    created(&mut stream).await?;
    for name in ["b", "a", "c"] {
        world.client.put(world.key(name), "1", None).await?;
    }
    same!(events(&world, &mut stream, 3).await?, ["put b 1", "put a 1", "put c 1"]);
    Ok(())
}

async fn the_past_is_replayed_in_order(mut world: World) -> Verdict {
    let start = world.revision().await? + 1;
    for at in 0..30 {
        world.client.put(world.key("a"), format!("{at}"), None).await?;
    }
    let options = WatchOptions::new().with_start_revision(start);
    let mut stream = world.client.watch(world.key("a"), Some(options)).await?;
    created(&mut stream).await?;
    world.client.put(world.key("a"), "30", None).await?;
    let wanted: Vec<_> = (0..31).map(|at| format!("put a {at}")).collect();
    same!(events(&world, &mut stream, 31).await?, wanted);
    Ok(())
}

async fn previous_pairs_are_told(mut world: World) -> Verdict {
    let options = WatchOptions::new().with_prev_key();
    let mut stream = world.client.watch(world.key("a"), Some(options)).await?;
    created(&mut stream).await?;
    world.client.put(world.key("a"), "1", None).await?;
    world.client.put(world.key("a"), "2", None).await?;
    world.client.delete(world.key("a"), None).await?;
    let seen = events(&world, &mut stream, 3).await?;
    same!(seen, ["put a 1", "put a 2 before 1", "delete a  before 2"]);
    Ok(())
}

async fn filters_leave_out_their_kind(mut world: World) -> Verdict {
    let start = world.revision().await? + 1;
    world.client.put(world.key("a"), "1", None).await?;
    world.client.delete(world.key("a"), None).await?;
    world.client.put(world.key("a"), "2", None).await?;
    world.client.delete(world.key("a"), None).await?;
    let cases = [
        (WatchFilterType::NoPut, ["delete a ", "delete a "]),
        (WatchFilterType::NoDelete, ["put a 1", "put a 2"]),
    ];
    for (filter, wanted) in cases {
        let options = WatchOptions::new().with_start_revision(start).with_filters([filter]);
        let mut stream = world.client.watch(world.key("a"), Some(options)).await?;
        created(&mut stream).await?;
        same!(events(&world, &mut stream, 2).await?, wanted);
    }
    Ok(())
}

async fn several_watches_share_a_stream(mut world: World) -> Verdict {
    let options = WatchOptions::new().with_watch_id(7);
    let mut stream = world.client.watch(world.key("a"), Some(options)).await?;
    same!(created(&mut stream).await?.watch_id(), 7);
    let options = WatchOptions::new().with_watch_id(8);
    stream.watch(world.key("b"), Some(options)).await?;
    same!(created(&mut stream).await?.watch_id(), 8);
    world.client.put(world.key("b"), "1", None).await?;
    same!(next(&mut stream).await?.watch_id(), 8);
    world.client.put(world.key("a"), "1", None).await?;
    same!(next(&mut stream).await?.watch_id(), 7);
    Ok(())
}

async fn a_txn_comes_in_one_reply(mut world: World) -> Verdict {
    let options = WatchOptions::new().with_prefix();
    let mut stream = world.client.watch(world.prefix.as_str(), Some(options)).await?;
    created(&mut stream).await?;
    let puts = ["z", "a", "m"].map(|name| TxnOp::put(world.key(name), "1", None));
    world.client.txn(Txn::new().and_then(puts)).await?;
    let reply = next(&mut stream).await?;
    let keys: Vec<_> = reply
        .events()
        .iter()
        .filter_map(|event| event.kv())
        .map(|pair| String::from_utf8_lossy(pair.key()).replace(&world.prefix, ""))
        .collect();
    same!(keys, ["z", "a", "m"]);
    Ok(())
}

async fn a_cancelled_watch_says_so_and_is_silent(mut world: World) -> Verdict {
    let mut stream = world.client.watch(world.key("a"), None).await?;
    let id = created(&mut stream).await?.watch_id();
    stream.cancel(id).await?;
    let reply = next(&mut stream).await?;
    same!((reply.watch_id(), reply.canceled(), reply.cancel_reason()), (id, true, ""));
    world.client.put(world.key("a"), "1", None).await?;
    stream.watch(world.key("b"), None).await?;
    created(&mut stream).await?;
    world.client.put(world.key("b"), "2", None).await?;
    same!(events(&world, &mut stream, 1).await?, ["put b 2"]);
    Ok(())
}

async fn a_compacted_start_cancels_the_watch(mut world: World) -> Verdict {
    for value in ["1", "2", "3"] {
        world.client.put(world.key("a"), value, None).await?;
    }
    let revision = world.revision().await?;
    let options = CompactionOptions::new().with_physical();
    world.client.compact(revision, Some(options)).await?;
    let options = WatchOptions::new().with_start_revision(revision - 1);
    let mut stream = world.client.watch(world.key("a"), Some(options)).await?;
    created(&mut stream).await?;
    let reply = next(&mut stream).await?;
    same!((reply.canceled(), reply.compact_revision()), (true, revision));
    Ok(())
}

async fn progress_is_told_when_asked(mut world: World) -> Verdict {
    let mut stream = world.client.watch(world.key("a"), None).await?;
    created(&mut stream).await?;
    world.client.put(world.key("b"), "1", None).await?;
    let revision = world.revision().await?;
    stream.request_progress().await?;
    let reply = next(&mut stream).await?;
    same!((reply.watch_id(), reply.events().len()), (-1, 0));
    same!(reply.header().map(|h| h.revision()), Some(revision));
    Ok(())
}

async fn an_id_in_use_is_refused(mut world: World) -> Verdict {
    let options = WatchOptions::new().with_watch_id(5);
    let mut stream = world.client.watch(world.key("a"), Some(options.clone())).await?;
    created(&mut stream).await?;
    stream.watch(world.key("b"), Some(options)).await?;
    let reply = next(&mut stream).await?;
    let text = "mvcc: duplicate watch ID provided on the WatchStream";
    same!((reply.canceled(), reply.watch_id(), reply.cancel_reason()), (true, -1, text));
    Ok(())
}

async fn fragments_come_whole(mut world: World) -> Verdict {
    let start = world.revision().await? + 1;
    let value = "x".repeat(900_000);
    for name in ["a", "b", "c"] {
        world.client.put(world.key(name), value.as_str(), None).await?;
    }
    let options = WatchOptions::new().with_prefix().with_start_revision(start).with_fragment();
    let mut stream = world.client.watch(world.prefix.as_str(), Some(options)).await?;
    created(&mut stream).await?;
    let seen = events(&world, &mut stream, 3).await?;
    same!(seen.iter().map(String::len).collect::<Vec<_>>(), [900_006; 3]);
    let all = etcd_client::DeleteOptions::new().with_prefix();
    world.client.delete(world.prefix.as_str(), Some(all)).await?;
    Ok(())
}
