//! Owns a server that does nothing but answer: puts with the next revision, ranges with one pair.
//! What a load costs in front of it is the load's own. Invariant: it keeps nothing of what it is
//! asked.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use clap::Args;
use glommio::{LocalExecutorBuilder, Placement};
use prost::Message;
use sock::{
    Acceptor, Address, Bound, CallHead, CallId, HttpReply, HttpRequest, HttpResponse, Hub, Options,
    PortSharing, Route, Seats, Server, Service,
};
use wire::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader};
use wire::mvccpb::KeyValue;
use wire::{Code, Method};

use crate::net::resolve;

#[derive(Args, Debug)]
pub struct Flags {
    /// Where to listen; port 0 lets the kernel choose
    #[arg(long, default_value = "127.0.0.1:2379")]
    listen: String,
    /// Bytes of the value that ranges are answered with
    #[arg(long, default_value_t = 256)]
    value_size: usize,
}

const PUT: u16 = 0;
const RANGE: u16 = 1;

struct Null {
    hub: Hub,
    revision: Arc<AtomicI64>,
    value: Bytes,
}

impl Null {
    fn header(revision: i64) -> Option<ResponseHeader> {
        let (cluster_id, member_id, raft_term) = (0x1234_5678_9abc, 0x9876_5432_1fed, 2);
        Some(ResponseHeader { cluster_id, member_id, revision, raft_term })
    }

    fn range(&self, request: RangeRequest) -> RangeResponse {
        let kvs = match request.count_only {
            true => Vec::new(),
            false => vec![KeyValue {
                key: request.key,
                create_revision: 1,
                mod_revision: 1,
                version: 1,
                value: if request.keys_only { Bytes::new() } else { self.value.clone() },
                lease: 0,
            }],
        };
        let header = Null::header(self.revision.load(Ordering::Relaxed));
        RangeResponse { header, kvs, more: false, count: 1 }
    }
}

impl Service for Null {
    fn route(&self, path: &str) -> Route {
        match Method::from_path(path) {
            Ok(Method::Put) => Route::Unary(PUT),
            Ok(Method::Range) => Route::Unary(RANGE),
            Ok(_) => Route::Refused(wire::Status::new(
                Code::Unimplemented,
                "the null server answers Put and Range alone",
            )),
            Err(status) => Route::Refused(status),
        }
    }

    fn unary(&self, call: CallId, method: u16, _: CallHead, message: Bytes) {
        let reply = match method {
            PUT => PutRequest::decode(message).map(|_| {
                let revision = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
                PutResponse { header: Null::header(revision), prev_kv: None }.encode_to_vec()
            }),
            _ => RangeRequest::decode(message).map(|request| self.range(request).encode_to_vec()),
        };
        match reply {
            Ok(reply) => self.hub.reply(call, Bytes::from(reply)),
            Err(_) => self.hub.fail(call, Code::Internal, "grpc: error unmarshalling request"),
        }
    }

    fn open(&self, _: CallId, _: u16, _: CallHead) {}

    fn message(&self, _: CallId, _: Bytes) {}

    fn half_closed(&self, call: CallId) {
        self.hub.finish(call, &wire::Status::OK);
    }

    fn gone(&self, _: CallId) {}

    fn drained(&self, _: CallId) {}

    fn http(&self, _: HttpRequest, reply: HttpReply) {
        let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
        reply.respond(HttpResponse { status, headers, body: Bytes::from_static(b"null\n") });
    }
}

/// Serves until a signal ends the process.
pub fn run(flags: &Flags, cores: usize, cpus: &[usize]) -> Result<(), String> {
    disk::probe::check(cores).map_err(|error| error.to_string())?;
    crate::sys::raise_files_max();
    let mut address = resolve(&flags.listen)?.address;
    let revision = Arc::new(AtomicI64::new(1));
    let (ended, end) = mpsc::channel::<()>();
    for core in 0..cores {
        // The first socket is told its port, the others share it.
        let bound = Bound::bind(&Address::Tcp(address), PortSharing::Shared);
        let bound = bound.map_err(|error| error.to_string())?;
        if let Address::Tcp(told) = bound.address() {
            address = *told;
        }
        let placement = match cpus.get(core % cpus.len().max(1)) {
            Some(cpu) => Placement::Fixed(*cpu),
            None => Placement::Unbound,
        };
        let (value, revision) = (Bytes::from(vec![b'v'; flags.value_size]), revision.clone());
        let ended = ended.clone();
        let executor = LocalExecutorBuilder::new(placement).name("null").io_memory(1 << 20);
        let spawned = executor.spawn(move || async move {
            let hub = Hub::new(Options::as_etcd());
            let service = Rc::new(Null { hub: hub.clone(), revision, value });
            let server = Server::new(hub, service);
            server.serve(Acceptor::new(bound, Seats::by_files())).await;
            drop(ended);
        });
        spawned.map_err(|error| format!("cannot start core {core}: {error}"))?;
    }
    drop(ended);
    println!("null server ready on {address}");
    // Ends when no core serves any more, which is never.
    let _ = end.recv();
    Ok(())
}
