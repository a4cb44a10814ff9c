//! Owns the client's end of one watch stream: creating watches and reading what comes.
//! Invariant: events of one watch come by rising revision, and an answer that breaks that is told.

use std::collections::BTreeMap;

use bytes::Bytes;
use measure::Wrong;
use wire::etcdserverpb::watch_request::RequestUnion;
use wire::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use wire::grpc::{decode, frame};
use wire::{Code, Method, Status};

use crate::net::{Incoming, Link, Outgoing};

/// What a watch is about.
#[derive(Clone, Debug, Default)]
pub struct Watching {
    pub key: Bytes,
    pub range_end: Bytes,
    pub start_revision: i64,
    pub prev_kv: bool,
}

/// An open stream.
pub struct Watcher {
    outgoing: Outgoing,
    incoming: Incoming,
    latest: BTreeMap<i64, i64>,
}

fn create(watching: &Watching) -> Bytes {
    let request = WatchCreateRequest {
        key: watching.key.clone(),
        range_end: watching.range_end.clone(),
        start_revision: watching.start_revision,
        prev_kv: watching.prev_kv,
        ..WatchCreateRequest::default()
    };
    frame(&WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) })
}

impl Watcher {
    /// Opens a stream with its first watch, and waits until that is created.
    pub async fn open(link: &Link, watching: &Watching) -> Result<Watcher, Status> {
        let (outgoing, incoming) = link.stream(Method::Watch, create(watching)).await?;
        let mut watcher = Watcher { outgoing, incoming, latest: BTreeMap::new() };
        watcher.created().await?;
        Ok(watcher)
    }

    /// One more watch, and waits until it is created. Nothing else may be on its way.
    pub async fn add(&mut self, watching: &Watching) -> Result<(), Status> {
        self.outgoing.send(create(watching))?;
        self.created().await
    }

    /// One more watch, without waiting: that it was created comes as an answer without events.
    pub fn ask(&mut self, watching: &Watching) -> Result<(), Status> {
        self.outgoing.send(create(watching))
    }

    async fn created(&mut self) -> Result<(), Status> {
        let reply = self.next().await?;
        match reply.created {
            true => Ok(()),
            false => Err(Status::new(Code::Internal, "a watch was not created")),
        }
    }

    /// The next answer of the server.
    pub async fn next(&mut self) -> Result<WatchResponse, Status> {
        let bytes = self.incoming.next().await?;
        let bytes = bytes.ok_or_else(|| Status::new(Code::Unavailable, "the stream has ended"))?;
        let reply: WatchResponse = decode(bytes)?;
        match reply.canceled {
            true => {
                let text = format!("a watch was canceled: {}", reply.cancel_reason);
                Err(Status::new(Code::Canceled, text))
            }
            false => Ok(reply),
        }
    }

    /// Holds an answer against what came before on its watch.
    pub fn check(&mut self, reply: &WatchResponse) -> Result<(), Wrong> {
        let latest = self.latest.entry(reply.watch_id).or_default();
        for event in &reply.events {
            let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            if revision < *latest {
                return Err(Wrong::new("events of a watch go back"));
            }
            *latest = revision;
        }
        Ok(())
    }
}
