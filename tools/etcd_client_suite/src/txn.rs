//! Laws of transactions.

use crate::{Verdict, World, laws, refusal, same};
use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp, TxnOpResponse};

laws![
    compares_choose_the_branch,
    every_target_can_be_compared,
    a_txn_is_one_revision,
    an_op_sees_the_ones_before_it,
    nested_txns_run,
    a_key_put_twice_is_refused,
    a_failed_txn_changes_nothing,
    an_empty_txn_succeeds,
];

async fn compares_choose_the_branch(mut world: World) -> Verdict {
    let key = world.key("a");
    let swap = |from: &str, to: &str| {
        Txn::new()
            .when([Compare::value(key.as_str(), CompareOp::Equal, from)])
            .and_then([TxnOp::put(key.as_str(), to, None)])
            .or_else([TxnOp::get(key.as_str(), None)])
    };
    let missing = world.client.txn(swap("1", "2")).await?;
    same!(missing.succeeded(), false);
    world.client.put(key.as_str(), "1", None).await?;
    same!(world.client.txn(swap("1", "2")).await?.succeeded(), true);
    let again = world.client.txn(swap("1", "2")).await?;
    same!(again.succeeded(), false);
    match again.op_responses().into_iter().next() {
        Some(TxnOpResponse::Get(got)) => {
            same!(got.kvs()[0].value(), b"2");
        }
        other => return Err(crate::broken(format!("not a get: {other:?}"))),
    }
    Ok(())
}

async fn every_target_can_be_compared(mut world: World) -> Verdict {
    let key = world.key("a");
    let lease = world.client.lease_grant(600, None).await?.id();
    let options = etcd_client::PutOptions::new().with_lease(lease);
    world.client.put(key.as_str(), "x", Some(options)).await?;
    let revision = world.revision().await?;
    let compares = [
        Compare::version(key.as_str(), CompareOp::Equal, 1),
        Compare::create_revision(key.as_str(), CompareOp::Equal, revision),
        Compare::mod_revision(key.as_str(), CompareOp::Greater, revision - 1),
        Compare::value(key.as_str(), CompareOp::NotEqual, "y"),
        Compare::lease(key.as_str(), CompareOp::Equal, lease),
        Compare::version(world.key("none"), CompareOp::Equal, 0),
        Compare::version(world.prefix.as_str(), CompareOp::Less, 2).with_prefix(),
    ];
    for compare in &compares {
        let txn = Txn::new().when([compare.clone()]);
        if !world.client.txn(txn).await?.succeeded() {
            return Err(crate::broken(format!("{compare:?} does not hold")));
        }
    }
    same!(world.client.txn(Txn::new().when(compares)).await?.succeeded(), true);
    Ok(())
}

async fn a_txn_is_one_revision(mut world: World) -> Verdict {
    let before = world.revision().await?;
    let puts: Vec<_> =
        (0..50).map(|at| TxnOp::put(world.key(&format!("{at:02}")), "1", None)).collect();
    let reply = world.client.txn(Txn::new().and_then(puts)).await?;
    same!(reply.header().map(|h| h.revision()), Some(before + 1));
    let options = GetOptions::new().with_prefix();
    let got = world.client.get(world.prefix.as_str(), Some(options)).await?;
    same!(got.count(), 50);
    same!(got.kvs().iter().all(|pair| pair.mod_revision() == before + 1), true);
    Ok(())
}

async fn an_op_sees_the_ones_before_it(mut world: World) -> Verdict {
    let key = world.key("a");
    let txn = Txn::new().and_then([
        TxnOp::get(key.as_str(), None),
        TxnOp::put(key.as_str(), "1", None),
        TxnOp::get(key.as_str(), None),
    ]);
    let reply = world.client.txn(txn).await?;
    let counts: Vec<_> = reply
        .op_responses()
        .into_iter()
        .filter_map(|op| match op {
            TxnOpResponse::Get(got) => Some(got.count()),
            _ => None,
        })
        .collect();
    same!(counts, [0, 1]);
    Ok(())
}

async fn nested_txns_run(mut world: World) -> Verdict {
    let inner = Txn::new()
        .when([Compare::version(world.key("a"), CompareOp::Equal, 0)])
        .and_then([TxnOp::put(world.key("b"), "then", None)])
        .or_else([TxnOp::put(world.key("b"), "else", None)]);
    let outer = Txn::new().and_then([TxnOp::put(world.key("a"), "1", None), TxnOp::txn(inner)]);
    let reply = world.client.txn(outer).await?;
    same!(reply.succeeded(), true);
    let got = world.client.get(world.key("b"), None).await?;
    same!(got.kvs()[0].value(), b"then");
    same!(reply.op_responses().len(), 2);
    Ok(())
}

async fn a_key_put_twice_is_refused(mut world: World) -> Verdict {
    let key = world.key("a");
    let txn = Txn::new()
        .and_then([TxnOp::put(key.as_str(), "1", None), TxnOp::put(key.as_str(), "2", None)]);
    let text = "etcdserver: duplicate key given in txn request";
    same!(refusal(world.client.txn(txn).await)?, ("InvalidArgument".into(), text.into()));
    let many: Vec<_> =
        (0..129).map(|at| TxnOp::put(world.key(&format!("{at}")), "", None)).collect();
    let text = "etcdserver: too many operations in txn request";
    let refused = refusal(world.client.txn(Txn::new().and_then(many)).await)?;
    same!(refused, ("InvalidArgument".into(), text.into()));
    Ok(())
}

async fn a_failed_txn_changes_nothing(mut world: World) -> Verdict {
    let before = world.revision().await?;
    let future = GetOptions::new().with_revision(before + 1_000_000);
    let txn = Txn::new().and_then([
        TxnOp::put(world.key("a"), "1", None),
        TxnOp::get(world.key("a"), Some(future)),
    ]);
    refusal(world.client.txn(txn).await)?;
    same!(world.revision().await?, before);
    same!(world.client.get(world.key("a"), None).await?.count(), 0);
    Ok(())
}

async fn an_empty_txn_succeeds(mut world: World) -> Verdict {
    let before = world.revision().await?;
    same!(world.client.txn(Txn::new()).await?.succeeded(), true);
    same!(world.revision().await?, before);
    Ok(())
}
