//! Laws of leases.

use crate::{Verdict, World, laws, refusal, same};
use etcd_client::{LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions};
use std::time::Duration;

laws![
    a_lease_is_granted_with_its_id,
    an_id_that_is_taken_is_refused,
    a_short_ttl_is_raised_to_the_minimum,
    a_revoke_takes_the_keys,
    time_to_live_names_the_keys,
    an_unknown_lease_is_refused_or_told_gone,
    a_keep_alive_renews,
    leases_are_listed,
    an_expired_lease_takes_its_keys,
];

/// An id that no other run uses.
fn fresh_id() -> i64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos());
    (now as i64 & i64::MAX) | 1
}

async fn a_lease_is_granted_with_its_id(mut world: World) -> Verdict {
    let id = fresh_id();
    let options = LeaseGrantOptions::new().with_id(id);
    let granted = world.client.lease_grant(60, Some(options)).await?;
    same!((granted.id(), granted.ttl(), granted.error()), (id, 60, ""));
    let chosen = world.client.lease_grant(60, None).await?;
    same!(0 < chosen.id(), true);
    Ok(())
}

async fn an_id_that_is_taken_is_refused(mut world: World) -> Verdict {
    let options = LeaseGrantOptions::new().with_id(fresh_id());
    world.client.lease_grant(60, Some(options.clone())).await?;
    let refused = refusal(world.client.lease_grant(60, Some(options)).await)?;
    same!(refused, ("FailedPrecondition".into(), "etcdserver: lease already exists".into()));
    let refused = refusal(world.client.lease_grant(9_000_000_001, None).await)?;
    same!(refused, ("OutOfRange".into(), "etcdserver: too large lease TTL".into()));
    Ok(())
}

async fn a_short_ttl_is_raised_to_the_minimum(mut world: World) -> Verdict {
    same!(world.client.lease_grant(1, None).await?.ttl(), 2);
    same!(world.client.lease_grant(0, None).await?.ttl(), 2);
    Ok(())
}

async fn a_revoke_takes_the_keys(mut world: World) -> Verdict {
    let id = world.client.lease_grant(600, None).await?.id();
    let options = PutOptions::new().with_lease(id);
    for name in ["a", "b"] {
        world.client.put(world.key(name), "1", Some(options.clone())).await?;
    }
    let before = world.revision().await?;
    let revoked = world.client.lease_revoke(id).await?;
    same!(revoked.header().map(|h| h.revision()), Some(before + 1));
    same!(world.client.get(world.key("a"), None).await?.count(), 0);
    let refused = refusal(world.client.lease_revoke(id).await)?;
    same!(refused, ("NotFound".into(), "etcdserver: requested lease not found".into()));
    Ok(())
}

async fn time_to_live_names_the_keys(mut world: World) -> Verdict {
    let id = world.client.lease_grant(600, None).await?.id();
    let put = PutOptions::new().with_lease(id);
    for name in ["a", "b"] {
        world.client.put(world.key(name), "1", Some(put.clone())).await?;
    }
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let reply = world.client.lease_time_to_live(id, Some(options)).await?;
    same!(reply.granted_ttl(), 600);
    same!((590..=600).contains(&reply.ttl()), true);
    let mut keys = reply.keys().to_vec();
    keys.sort();
    same!(keys, [world.key("a").into_bytes(), world.key("b").into_bytes()]);
    Ok(())
}

async fn an_unknown_lease_is_refused_or_told_gone(mut world: World) -> Verdict {
    let id = fresh_id();
    same!(world.client.lease_time_to_live(id, None).await?.ttl(), -1);
    let options = PutOptions::new().with_lease(id);
    let refused = refusal(world.client.put(world.key("a"), "1", Some(options)).await)?;
    same!(refused, ("NotFound".into(), "etcdserver: requested lease not found".into()));
    same!(world.client.lease_keep_alive(id).await.is_err(), true);
    Ok(())
}

async fn a_keep_alive_renews(mut world: World) -> Verdict {
    let id = world.client.lease_grant(3, None).await?.id();
    let options = PutOptions::new().with_lease(id);
    world.client.put(world.key("a"), "1", Some(options)).await?;
    let (mut keeper, mut stream) = world.client.lease_keep_alive(id).await?;
    for _ in 0..5 {
        keeper.keep_alive().await?;
        let reply = stream.message().await?.ok_or(crate::broken("it ended".to_owned()))?;
        same!((reply.id(), reply.ttl()), (id, 3));
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    same!(world.client.get(world.key("a"), None).await?.count(), 1);
    Ok(())
}

async fn leases_are_listed(mut world: World) -> Verdict {
    let long = world.client.lease_grant(900_000, None).await?.id();
    let short = world.client.lease_grant(800_000, None).await?.id();
    let listed: Vec<_> = world.client.leases().await?.leases().iter().map(|l| l.id()).collect();
    let at = |id| listed.iter().position(|listed| *listed == id);
    same!(at(short).is_some() && at(short) < at(long), true);
    world.client.lease_revoke(long).await?;
    world.client.lease_revoke(short).await?;
    Ok(())
}

async fn an_expired_lease_takes_its_keys(mut world: World) -> Verdict {
    let id = world.client.lease_grant(2, None).await?.id();
    let options = PutOptions::new().with_lease(id);
    world.client.put(world.key("a"), "1", Some(options)).await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    same!(world.client.get(world.key("a"), None).await?.count(), 1);
    for _ in 0..100 {
        if world.client.get(world.key("a"), None).await?.count() == 0 {
            same!(world.client.lease_time_to_live(id, None).await?.ttl(), -1);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(crate::broken("the key outlived its lease by ten seconds".to_owned()))
}
