//! Owns the load of lease keep-alives. Invariant: every client has a lease of its own, which is
//! revoked when it has ended.

use std::rc::Rc;

use clap::Args;
use futures_lite::future;
use measure::workload::KeepAlive;
use wire::Method;
use wire::etcdserverpb::{LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest};
use wire::grpc::{decode, frame};

use crate::flags::Common;
use crate::run::{Counted, Seat};

/// Seconds that a lease lives without a keep-alive, as in etcd's benchmark.
const TTL_S: i64 = 100;

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Keep-alives a second, sent whatever the answers do; 0 sends the next when the last is
    /// answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Keep-alives
    #[arg(long, default_value_t = 10_000)]
    total: u64,
}

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let mut leases = Vec::with_capacity(seat.clients.len());
    for client in &seat.clients {
        let request = LeaseGrantRequest { ttl: TTL_S, id: 0 };
        let granted = client.link.unary(Method::LeaseGrant, frame(&request)).await;
        let granted = granted.and_then(decode::<LeaseGrantResponse>);
        let granted = granted.map_err(|status| format!("no lease: {}", status.message))?;
        leases.push((client.number, granted.id));
    }
    let of = |number| leases.iter().find(|(client, _)| *client == number).map_or(0, |one| one.1);
    let phase = common.phase(&["keep-alive"], flags.total, flags.rate);
    let series = seat.ask(phase, |client| Box::new(KeepAlive::new(of(client.number)))).await;
    let mut notes = Vec::new();
    let revoke = async {
        for (client, (_, id)) in seat.clients.iter().zip(&leases) {
            let request = frame(&LeaseRevokeRequest { id: *id });
            if let Err(status) = client.link.unary(Method::LeaseRevoke, request).await {
                notes.push(format!("lease {id:x} is left: {}", status.message));
            }
        }
    };
    let late = glommio::timer::sleep(seat.patience);
    future::or(revoke, late).await;
    Ok(Counted { series, notes })
}
