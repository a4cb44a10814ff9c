//! Owns what the network asks of a core: gRPC goes to the shard, other requests to the pages.
//! Invariant: every call that reaches the shard is one of the methods it knows.

use std::rc::Rc;

use bytes::Bytes;
use node::shard::{CallMeta, Caller, LeaderNeed};
use node::{CallId, ShardEvent};
use sock::{CallHead, HttpReply, HttpRequest, Route, Service};
use wire::method::Kind;
use wire::{Code, Method, Status};

use crate::core::Core;
use crate::gate;
use crate::pages;
use crate::ports::Role;

/// The network's view of a core.
pub struct Front {
    /// The core.
    pub core: Rc<Core>,
    /// What the listener serves.
    pub role: Role,
}

impl Service for Front {
    fn route(&self, path: &str) -> Route {
        match self.role {
            Role::Client | Role::ClientGrpc => {}
            Role::ClientHttp | Role::Peer | Role::Metrics => {
                let text = "this listener serves no gRPC";
                return Route::Refused(Status::new(Code::Unimplemented, text));
            }
        }
        match Method::from_path(path) {
            Ok(method) => match method.kind() {
                Kind::Unary => Route::Unary(method as u16),
                Kind::ServerStream | Kind::Bidi => Route::Stream(method as u16),
            },
            Err(status) => Route::Refused(status),
        }
    }

    fn unary(&self, call: sock::CallId, method: u16, head: CallHead, message: Bytes) {
        let (call, method) = (inner(call), known(method));
        self.core.begin(call, method, client(&head));
        self.core.tally.received(call, message.len());
        let event = ShardEvent::Unary { call, method, meta: meta(&head), message };
        self.core.tell_shard(event);
    }

    fn open(&self, call: sock::CallId, method: u16, head: CallHead) {
        let (call, method) = (inner(call), known(method));
        self.core.begin(call, method, client(&head));
        self.core.tell_shard(ShardEvent::Open { call, method, meta: meta(&head) });
    }

    fn message(&self, call: sock::CallId, message: Bytes) {
        let call = inner(call);
        self.core.tally.received(call, message.len());
        self.core.tell_shard(ShardEvent::Message { call, message });
    }

    fn half_closed(&self, call: sock::CallId) {
        self.core.tell_shard(ShardEvent::HalfClosed { call: inner(call) });
    }

    fn gone(&self, call: sock::CallId) {
        let call = inner(call);
        self.core.tally.ended(call, Code::Canceled, self.core.now());
        self.core.tell_shard(ShardEvent::Gone { call });
    }

    fn drained(&self, call: sock::CallId) {
        self.core.tell_shard(ShardEvent::Drained { call: inner(call) });
    }

    fn http(&self, request: HttpRequest, mut reply: HttpReply) {
        match self.role {
            Role::ClientGrpc => return reply.hang_up(),
            Role::Client | Role::ClientHttp => {
                match gate::judge(&self.core.shared.access, &request) {
                    Ok(fields) => reply.always(fields),
                    Err(refusal) => return reply.respond(*refusal),
                }
            }
            Role::Peer | Role::Metrics => {}
        }
        pages::serve(&self.core, self.role, &request, reply);
    }
}

fn inner(call: sock::CallId) -> CallId {
    CallId(call.to_bits())
}

fn known(method: u16) -> Method {
    Method::ALL[usize::from(method)]
}

/// What the client calls its version, if that is text.
fn client(head: &CallHead) -> Option<&str> {
    head.metadata.as_ref()?.client_api_version.as_ref()?.to_str().ok()
}

fn meta(head: &CallHead) -> CallMeta {
    let leader = match head.leader {
        sock::LeaderNeed::Required => LeaderNeed::Required,
        sock::LeaderNeed::Any => LeaderNeed::Any,
    };
    CallMeta { leader, caller: Caller::Client }
}
