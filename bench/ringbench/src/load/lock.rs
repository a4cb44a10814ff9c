//! Owns the locks around software transactions: none, one made of keys as etcd's Go client makes
//! it, or the lock service. Invariant: who holds the lock has the oldest key below its name.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use glommio::Task;
use wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use wire::etcdserverpb::range_request::{SortOrder, SortTarget};
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::response_op::Response;
use wire::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
    TxnResponse,
};
use wire::grpc::{decode, frame};
use wire::mvccpb::KeyValue;
use wire::mvccpb::event::EventType;
use wire::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use wire::{Code, Method, Status};

use super::watcher::{Watcher, Watching};
use crate::net::Link;

const NAME: &str = "stmlock";
/// Of a session's lease, as in etcd's Go client.
const TTL_S: i64 = 60;
const KEEP_ALIVE: Duration = Duration::from_secs(TTL_S as u64 / 3);

/// What is held around a transaction.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locker {
    /// Nothing
    Stm,
    /// A lock made of keys
    LockClient,
    /// A lock of the lock service
    LockRpc,
}

/// A client's way to the lock.
pub struct Session {
    locker: Locker,
    link: Rc<Link>,
    lease: i64,
    keeper: Option<Task<()>>,
}

/// A lock that is held; its key, if there is one.
pub struct HeldLock(Option<Bytes>);

impl Session {
    /// Grants the lease that the lock ends with, and keeps it alive.
    pub async fn open(locker: Locker, link: &Rc<Link>) -> Result<Session, Status> {
        let mut session = Session { locker, link: link.clone(), lease: 0, keeper: None };
        if locker == Locker::Stm {
            return Ok(session);
        }
        let request = LeaseGrantRequest { ttl: TTL_S, id: 0 };
        let reply = link.unary(Method::LeaseGrant, frame(&request)).await?;
        session.lease = decode::<LeaseGrantResponse>(reply)?.id;
        let (link, id) = (link.clone(), session.lease);
        session.keeper = Some(glommio::spawn_local(async move {
            loop {
                glommio::timer::sleep(KEEP_ALIVE).await;
                let request = frame(&LeaseKeepAliveRequest { id });
                // One that is lost is made up by the next: a lease lives for three of them.
                drop(link.unary(Method::LeaseKeepAlive, request).await);
            }
        }));
        Ok(session)
    }

    /// Waits for the lock.
    pub async fn lock(&self) -> Result<HeldLock, Status> {
        match self.locker {
            Locker::Stm => Ok(HeldLock(None)),
            Locker::LockRpc => {
                let name = Bytes::from_static(NAME.as_bytes());
                let request = frame(&LockRequest { name, lease: self.lease });
                let reply = self.link.unary(Method::Lock, request).await?;
                Ok(HeldLock(Some(decode::<LockResponse>(reply)?.key)))
            }
            Locker::LockClient => self.queue().await.map(|key| HeldLock(Some(key))),
        }
    }

    /// Gives it back.
    pub async fn unlock(&self, held: HeldLock) -> Result<(), Status> {
        let Some(key) = held.0 else { return Ok(()) };
        let (method, request) = match self.locker {
            Locker::LockRpc => (Method::Unlock, frame(&UnlockRequest { key })),
            Locker::Stm | Locker::LockClient => {
                let request = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
                (Method::DeleteRange, frame(&request))
            }
        };
        self.link.unary(method, request).await.map(drop)
    }

    /// Ends the lease, and with it what is left of the lock.
    pub async fn close(self) {
        if let Some(keeper) = self.keeper {
            keeper.cancel().await;
            let request = frame(&LeaseRevokeRequest { id: self.lease });
            // A lease that stays ends by itself.
            drop(self.link.unary(Method::LeaseRevoke, request).await);
        }
    }

    /// Puts a key of our own and waits until no older one is left.
    async fn queue(&self) -> Result<Bytes, Status> {
        let key = Bytes::from(format!("{NAME}/{:x}", self.lease));
        let ours = self.enter(&key).await?;
        loop {
            let request = RangeRequest {
                max_create_revision: ours - 1,
                sort_order: SortOrder::Descend.into(),
                ..oldest()
            };
            let reply = self.link.unary(Method::Range, frame(&request)).await?;
            let reply: RangeResponse = decode(reply)?;
            let Some(before) = reply.kvs.first() else { return Ok(key) };
            let revision = reply.header.unwrap_or_default().revision;
            self.gone(before.key.clone(), revision + 1).await?;
        }
    }

    /// The create revision of our key.
    async fn enter(&self, key: &Bytes) -> Result<i64, Status> {
        let put = PutRequest { key: key.clone(), lease: self.lease, ..PutRequest::default() };
        let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let op = |request| RequestOp { request: Some(request) };
        let request = TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Equal.into(),
                target: CompareTarget::Create.into(),
                key: key.clone(),
                target_union: Some(TargetUnion::CreateRevision(0)),
                range_end: Bytes::new(),
            }],
            success: vec![op(Request::RequestPut(put))],
            failure: vec![op(Request::RequestRange(get))],
        };
        let reply = self.link.unary(Method::Txn, frame(&request)).await?;
        let reply: TxnResponse = decode(reply)?;
        if reply.succeeded {
            return Ok(reply.header.unwrap_or_default().revision);
        }
        let found = reply.responses.first().and_then(|one| one.response.as_ref());
        match found {
            Some(Response::ResponseRange(rows)) => {
                Ok(rows.kvs.first().map_or(0, |kv: &KeyValue| kv.create_revision))
            }
            Some(_) | None => Err(Status::new(Code::Internal, "a transaction without its answer")),
        }
    }

    /// Waits until a key is deleted.
    async fn gone(&self, key: Bytes, start_revision: i64) -> Result<(), Status> {
        let watching = Watching { key, start_revision, ..Watching::default() };
        let mut watcher = Watcher::open(&self.link, &watching).await?;
        loop {
            let reply = watcher.next().await?;
            if reply.events.iter().any(|event| event.r#type() == EventType::Delete) {
                return Ok(());
            }
        }
    }
}

/// The first key below the name, by age.
fn oldest() -> RangeRequest {
    RangeRequest {
        key: Bytes::from(format!("{NAME}/")),
        range_end: Bytes::from(format!("{NAME}0")),
        limit: 1,
        sort_target: SortTarget::Create.into(),
        ..RangeRequest::default()
    }
}
