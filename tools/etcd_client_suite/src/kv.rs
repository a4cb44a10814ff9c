//! Laws of put, get, delete and compact.

use crate::{Verdict, World, laws, refusal, same};
use etcd_client::{
    CompactionOptions, DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget,
};

laws![
    a_put_is_read_back,
    a_put_answers_the_previous_pair,
    a_put_keeps_value_or_lease_when_asked,
    an_empty_key_is_refused,
    a_prefix_is_read_in_key_order,
    a_limit_tells_that_there_is_more,
    a_range_is_sorted_as_asked,
    keys_only_and_count_only,
    an_old_revision_is_read_as_it_was,
    a_future_revision_is_refused,
    a_serializable_read_answers,
    a_delete_counts_and_answers_previous_pairs,
    a_delete_of_nothing_changes_nothing,
    revisions_filter_a_range,
    a_compacted_revision_is_refused,
    a_compaction_of_the_future_is_refused,
    large_values_come_back_whole,
    many_calls_at_once,
];

async fn a_put_is_read_back(mut world: World) -> Verdict {
    let key = world.key("a");
    let before = world.revision().await?;
    let put = world.client.put(key.as_str(), "1", None).await?;
    same!(put.header().map(|h| h.revision()), Some(before + 1));
    let got = world.client.get(key.as_str(), None).await?;
    same!(got.count(), 1);
    let pair = &got.kvs()[0];
    same!(pair.value(), b"1");
    same!(
        (pair.create_revision(), pair.mod_revision(), pair.version()),
        (before + 1, before + 1, 1)
    );
    Ok(())
}

async fn a_put_answers_the_previous_pair(mut world: World) -> Verdict {
    let key = world.key("a");
    let options = PutOptions::new().with_prev_key();
    let first = world.client.put(key.as_str(), "1", Some(options.clone())).await?;
    same!(first.prev_key().is_none(), true);
    let second = world.client.put(key.as_str(), "2", Some(options)).await?;
    same!(second.prev_key().map(|pair| pair.value().to_vec()), Some(b"1".to_vec()));
    Ok(())
}

async fn a_put_keeps_value_or_lease_when_asked(mut world: World) -> Verdict {
    let key = world.key("a");
    let lease = world.client.lease_grant(600, None).await?.id();
    let leased = PutOptions::new().with_lease(lease);
    world.client.put(key.as_str(), "1", Some(leased)).await?;
    let keep_lease = PutOptions::new().with_ignore_lease();
    world.client.put(key.as_str(), "2", Some(keep_lease)).await?;
    let got = world.client.get(key.as_str(), None).await?;
    same!((got.kvs()[0].value(), got.kvs()[0].lease()), (b"2".as_slice(), lease));
    let keep_value = PutOptions::new().with_ignore_value();
    world.client.put(key.as_str(), "", Some(keep_value)).await?;
    let got = world.client.get(key.as_str(), None).await?;
    same!((got.kvs()[0].value(), got.kvs()[0].lease()), (b"2".as_slice(), 0));
    let missing = PutOptions::new().with_ignore_value();
    let refused = refusal(world.client.put(world.key("none"), "", Some(missing)).await)?;
    same!(refused, ("InvalidArgument".into(), "etcdserver: key not found".into()));
    Ok(())
}

async fn an_empty_key_is_refused(mut world: World) -> Verdict {
    let wanted = ("InvalidArgument".to_owned(), "etcdserver: key is not provided".to_owned());
    same!(refusal(world.client.put("", "1", None).await)?, wanted);
    same!(refusal(world.client.get("", None).await)?, wanted);
    same!(refusal(world.client.delete("", None).await)?, wanted);
    Ok(())
}

async fn fill(world: &mut World, names: &[(&str, &str)]) -> Verdict {
    for (name, value) in names {
        world.client.put(world.key(name), *value, None).await?;
    }
    Ok(())
}

fn names(world: &World, reply: &etcd_client::GetResponse) -> Vec<String> {
    let all = reply.kvs().iter().map(|pair| String::from_utf8_lossy(pair.key()).into_owned());
    all.map(|key| key.replace(&world.prefix, "")).collect()
}

async fn a_prefix_is_read_in_key_order(mut world: World) -> Verdict {
    fill(&mut world, &[("c", "1"), ("a", "2"), ("b", "3"), ("a/1", "4")]).await?;
    let options = GetOptions::new().with_prefix();
    let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
    same!(names(&world, &got), ["a", "a/1", "b", "c"]);
    let range = GetOptions::new().with_range(world.key("b"));
    let got = world.client.get(world.key("a"), Some(range)).await?;
    same!(names(&world, &got), ["a", "a/1"]);
    Ok(())
}

async fn a_limit_tells_that_there_is_more(mut world: World) -> Verdict {
    fill(&mut world, &[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    for (limit, more, length) in [(2, true, 2), (3, false, 3), (0, false, 3)] {
        let options = GetOptions::new().with_prefix().with_limit(limit);
        let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
        same!((got.more(), got.kvs().len(), got.count()), (more, length, 3));
    }
    Ok(())
}

async fn a_range_is_sorted_as_asked(mut world: World) -> Verdict {
    fill(&mut world, &[("a", "3"), ("b", "1"), ("c", "2"), ("b", "1")]).await?;
    let cases: [(SortTarget, SortOrder, [&str; 3]); 5] = [
        (SortTarget::Key, SortOrder::Descend, ["c", "b", "a"]),
        (SortTarget::Value, SortOrder::Ascend, ["b", "c", "a"]),
        (SortTarget::Mod, SortOrder::Descend, ["b", "c", "a"]),
        (SortTarget::Create, SortOrder::Descend, ["c", "b", "a"]),
        (SortTarget::Version, SortOrder::Descend, ["b", "a", "c"]),
    ];
    for (target, order, wanted) in cases {
        let options = GetOptions::new().with_prefix().with_sort(target, order);
        let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
        same!(names(&world, &got), wanted);
    }
    Ok(())
}

async fn keys_only_and_count_only(mut world: World) -> Verdict {
    fill(&mut world, &[("a", "1"), ("b", "2")]).await?;
    let options = GetOptions::new().with_prefix().with_keys_only();
    let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
    same!(got.kvs().iter().all(|pair| pair.value().is_empty()), true);
    same!(got.kvs().len(), 2);
    let options = GetOptions::new().with_prefix().with_count_only();
    let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
    same!((got.kvs().len(), got.count()), (0, 2));
    Ok(())
}

async fn an_old_revision_is_read_as_it_was(mut world: World) -> Verdict {
    fill(&mut world, &[("a", "1")]).await?;
    let revision = world.revision().await?;
    fill(&mut world, &[("a", "2"), ("b", "3")]).await?;
    world.client.delete(world.key("a"), None).await?;
    let options = GetOptions::new().with_prefix().with_revision(revision);
    let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
    same!(names(&world, &got), ["a"]);
    same!(got.kvs()[0].value(), b"1");
    same!(got.header().map(|h| h.revision()), Some(revision + 3));
    Ok(())
}

async fn a_future_revision_is_refused(mut world: World) -> Verdict {
    let revision = world.revision().await? + 1_000_000;
    let options = GetOptions::new().with_revision(revision);
    let refused = refusal(world.client.get(world.key("a"), Some(options)).await)?;
    let text = "etcdserver: mvcc: required revision is a future revision";
    same!(refused, ("OutOfRange".into(), text.into()));
    Ok(())
}

async fn a_serializable_read_answers(mut world: World) -> Verdict {
    fill(&mut world, &[("a", "1")]).await?;
    let options = GetOptions::new().with_serializable();
    let got = world.client.get(world.key("a"), Some(options)).await?;
    same!(got.count(), 1);
    Ok(())
}

async fn a_delete_counts_and_answers_previous_pairs(mut world: World) -> Verdict {
    fill(&mut world, &[("b", "2"), ("a", "1"), ("c", "3")]).await?;
    let before = world.revision().await?;
    let options = DeleteOptions::new().with_prefix().with_prev_key();
    let gone = world.client.delete(world.prefix.as_str(), Some(options)).await?;
    same!(gone.deleted(), 3);
    let values: Vec<_> = gone.prev_kvs().iter().map(|pair| pair.value().to_vec()).collect();
    same!(values, [b"1", b"2", b"3"]);
    same!(gone.header().map(|h| h.revision()), Some(before + 1));
    Ok(())
}

async fn a_delete_of_nothing_changes_nothing(mut world: World) -> Verdict {
    let before = world.revision().await?;
    let gone = world.client.delete(world.key("none"), None).await?;
    same!(gone.deleted(), 0);
    same!(world.revision().await?, before);
    Ok(())
}

async fn revisions_filter_a_range(mut world: World) -> Verdict {
    fill(&mut world, &[("a", "1"), ("b", "1"), ("c", "1"), ("a", "2")]).await?;
    let last = world.revision().await?;
    let options = GetOptions::new().with_prefix().with_min_mod_revision(last - 1);
    let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
    same!((names(&world, &got), got.count()), (vec!["a".to_owned(), "c".to_owned()], 3));
    let options = GetOptions::new().with_prefix().with_max_create_revision(last - 2);
    let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
    same!(names(&world, &got), ["a", "b"]);
    Ok(())
}

async fn a_compacted_revision_is_refused(mut world: World) -> Verdict {
    fill(&mut world, &[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    let revision = world.revision().await?;
    let options = CompactionOptions::new().with_physical();
    world.client.compact(revision, Some(options)).await?;
    let text = "etcdserver: mvcc: required revision has been compacted";
    let wanted = ("OutOfRange".to_owned(), text.to_owned());
    let options = GetOptions::new().with_revision(revision - 1);
    same!(refusal(world.client.get(world.key("a"), Some(options)).await)?, wanted);
    same!(refusal(world.client.compact(revision, None).await)?, wanted);
    let options = GetOptions::new().with_revision(revision);
    let got = world.client.get(world.key("a"), Some(options)).await?;
    same!(got.kvs()[0].value(), b"3");
    Ok(())
}

async fn a_compaction_of_the_future_is_refused(mut world: World) -> Verdict {
    let revision = world.revision().await? + 1_000_000;
    let text = "etcdserver: mvcc: required revision is a future revision";
    let refused = refusal(world.client.compact(revision, None).await)?;
    same!(refused, ("OutOfRange".into(), text.into()));
    Ok(())
}

async fn large_values_come_back_whole(mut world: World) -> Verdict {
    let value: Vec<u8> = (0..1_000_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    world.client.put(world.key("big"), value.clone(), None).await?;
    let got = world.client.get(world.key("big"), None).await?;
    same!(got.kvs()[0].value() == value, true);
    let refused = refusal(world.client.put(world.key("big"), vec![0; 1_600_000], None).await)?;
    same!(refused, ("InvalidArgument".into(), "etcdserver: request is too large".into()));
    world.client.delete(world.key("big"), None).await?;
    Ok(())
}

async fn many_calls_at_once(mut world: World) -> Verdict {
    let calls = (0..200).map(|at| {
        let (mut client, key) = (world.client.kv_client(), world.key(&format!("{at:03}")));
        tokio::spawn(async move { client.put(key, format!("{at}"), None).await.map(|_| ()) })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.map_err(|error| crate::broken(error.to_string()))??;
    }
    let options = GetOptions::new().with_prefix();
    let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
    same!((got.count(), got.kvs()[199].value()), (200, b"199".as_slice()));
    let mut revisions: Vec<_> = got.kvs().iter().map(|pair| pair.mod_revision()).collect();
    revisions.sort_unstable();
    revisions.dedup();
    same!(revisions.len(), 200);
    Ok(())
}
