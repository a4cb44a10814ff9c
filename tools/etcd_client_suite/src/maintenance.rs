//! Laws of status, hashes, snapshot, defragment, alarms and members.

use crate::{Verdict, World, laws, refusal, same};
use etcd_client::{AlarmAction, AlarmType};

laws![
    status_tells_who_leads,
    a_hash_depends_on_the_history_alone,
    a_snapshot_counts_down_and_ends_with_its_hash,
    defragment_answers_and_keeps_the_data,
    no_alarm_is_raised,
    the_member_list_has_its_member,
    a_leader_can_be_moved_only_to_a_member,
];

async fn status_tells_who_leads(mut world: World) -> Verdict {
    let status = world.client.status().await?;
    let header = status.header().ok_or(crate::broken("no header".to_owned()))?;
    same!(status.leader(), header.member_id());
    same!(status.errors().is_empty(), true);
    same!(status.is_learner(), false);
    same!(0 < status.db_size(), true);
    same!(status.version().starts_with("3."), true);
    same!(status.raft_applied_index() <= status.raft_index(), true);
    Ok(())
}

async fn a_hash_depends_on_the_history_alone(mut world: World) -> Verdict {
    world.client.put(world.key("a"), "1", None).await?;
    let revision = world.revision().await?;
    let first = world.client.hash_kv(revision).await?.hash();
    world.client.put(world.key("b"), "2", None).await?;
    same!(world.client.hash_kv(revision).await?.hash(), first);
    same!(world.client.hash_kv(0).await?.hash() == first, false);
    let refused = refusal(world.client.hash_kv(revision + 1_000_000).await)?;
    same!(refused.0, "OutOfRange");
    world.client.hash().await?;
    Ok(())
}

async fn a_snapshot_counts_down_and_ends_with_its_hash(mut world: World) -> Verdict {
    world.client.put(world.key("a"), "1", None).await?;
    let mut stream = world.client.snapshot().await?;
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        parts.push((part.remaining_bytes(), part.blob().len()));
    }
    same!(2 <= parts.len(), true);
    let (last, blobs) = (parts[parts.len() - 1], &parts[..parts.len() - 1]);
    same!(last, (0, 32));
    let total: usize = blobs.iter().map(|(_, length)| length).sum();
    let mut left = total as u64;
    for (remaining, length) in blobs {
        left -= *length as u64;
        same!(*remaining, left);
    }
    same!(total % 512, 0);
    Ok(())
}

async fn defragment_answers_and_keeps_the_data(mut world: World) -> Verdict {
    world.client.put(world.key("a"), "1", None).await?;
    world.client.defragment().await?;
    same!(world.client.get(world.key("a"), None).await?.count(), 1);
    Ok(())
}

async fn no_alarm_is_raised(mut world: World) -> Verdict {
    let reply = world.client.alarm(AlarmAction::Get, AlarmType::None, None).await?;
    same!(reply.alarms().len(), 0);
    Ok(())
}

async fn the_member_list_has_its_member(mut world: World) -> Verdict {
    let members = world.client.member_list().await?;
    let header = members.header().ok_or(crate::broken("no header".to_owned()))?;
    let [member] = members.members() else {
        return Err(crate::broken(format!("{} members", members.members().len())));
    };
    same!(member.id(), header.member_id());
    same!((member.name().is_empty(), member.client_urls().is_empty()), (false, false));
    same!(member.is_learner(), false);
    Ok(())
}

async fn a_leader_can_be_moved_only_to_a_member(mut world: World) -> Verdict {
    let text = "etcdserver: bad leader transferee";
    let refused = refusal(world.client.move_leader(1234).await)?;
    same!(refused, ("FailedPrecondition".into(), text.into()));
    Ok(())
}
