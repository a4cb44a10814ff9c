//! Laws of the lock and election services.

use crate::{Verdict, World, laws, refusal, same};
use etcd_client::{LockOptions, ProclaimOptions, ResignOptions};

laws![
    a_lock_is_held_by_one,
    a_leader_is_elected_proclaims_and_resigns,
    an_election_without_leader_says_so,
];

async fn a_lock_is_held_by_one(mut world: World) -> Verdict {
    let lease = world.client.lease_grant(60, None).await?.id();
    let options = LockOptions::new().with_lease(lease);
    let held = world.client.lock(world.key("lock"), Some(options)).await?;
    same!(String::from_utf8_lossy(held.key()), format!("{}/{lease:x}", world.key("lock")));
    let (mut other, name) = (world.client.clone(), world.key("lock"));
    let waiting = tokio::spawn(async move { other.lock(name, None).await.map(|_| ()) });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    same!(waiting.is_finished(), false);
    world.client.unlock(held.key()).await?;
    waiting.await.map_err(|error| crate::broken(error.to_string()))??;
    Ok(())
}

async fn a_leader_is_elected_proclaims_and_resigns(mut world: World) -> Verdict {
    let name = world.key("election");
    let lease = world.client.lease_grant(60, None).await?.id();
    let won = world.client.campaign(name.as_str(), "first", lease).await?;
    let leader = won.leader().ok_or(crate::broken("no leader key".to_owned()))?.clone();
    same!(leader.lease(), lease);
    let seen = world.client.leader(name.as_str()).await?;
    same!(seen.kv().map(|pair| pair.value().to_vec()), Some(b"first".to_vec()));
    let options = ProclaimOptions::new().with_leader(leader.clone());
    world.client.proclaim("second", Some(options)).await?;
    let mut observed = world.client.observe(name.as_str()).await?;
    let first = observed.message().await?.ok_or(crate::broken("it ended".to_owned()))?;
    same!(first.kv().map(|pair| pair.value().to_vec()), Some(b"second".to_vec()));
    world.client.resign(Some(ResignOptions::new().with_leader(leader))).await?;
    same!(refusal(world.client.leader(name.as_str()).await)?.1, "election: no leader");
    Ok(())
}

async fn an_election_without_leader_says_so(mut world: World) -> Verdict {
    let refused = refusal(world.client.leader(world.key("election")).await)?;
    same!(refused, ("Unknown".into(), "election: no leader".into()));
    Ok(())
}
