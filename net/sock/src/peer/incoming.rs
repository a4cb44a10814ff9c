//! Owns one session: the stream from one peer on one lane. Judges the hello, reads frames, hands
//! payloads on. Never answers to anything but the hello.
//! Invariant: of the sessions of one peer and lane the newest alone is read.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use wire::peer::{Answer, FrameReader, HELLO_BYTES, Hello, MAGIC, Verdict};

use super::knock::Knock;
use super::{Inner, PeerNews, StreamError, StreamName, Way, within};
use crate::limits::READ_ROUNDS_MAX;
use crate::listen::Arrival;
use crate::server::Server;
use crate::service::Peer;
use crate::sys;

/// How often a caller that came early looks whether the peers are known.
const INTRODUCTION_LOOK: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Session {
    name: StreamName,
    /// Why it must end, once it must.
    end: RefCell<Option<StreamError>>,
    knock: Knock,
}

impl Session {
    pub(super) fn end(&self, why: StreamError) {
        *self.end.borrow_mut() = Some(why);
        self.knock.knock();
    }
}

/// A connection of the peer port, from its first byte on.
pub(super) async fn first(inner: Rc<Inner>, arrival: Arrival, server: Server) {
    let mut byte = [0; 1];
    let seen = within(inner.options.greet_timeout, arrival.stream.peek(&mut byte)).await;
    match seen {
        Some(Ok(1)) if byte[0] == MAGIC[0] => serve(&inner, arrival).await,
        Some(Ok(1)) => server.adopt(arrival),
        // Gone again, or silent.
        Some(Ok(_)) | Some(Err(_)) | None => {}
    }
}

async fn serve(inner: &Rc<Inner>, mut arrival: Arrival) {
    let caller = arrival.peer;
    let hello = match greeted(inner, &mut arrival.stream).await {
        Ok(hello) => hello,
        Err(error) => return inner.sink.news(PeerNews::Stranger { caller, error }),
    };
    introduced(inner).await;
    let verdict = judge(inner, &hello);
    let options = &inner.options;
    let answer =
        Answer { verdict, cluster_id: options.cluster_id, version: options.version }.encode();
    let said = within(options.greet_timeout, arrival.stream.write_all(&answer)).await;
    if verdict != Verdict::Accepted {
        return refused(inner, caller, &hello, verdict);
    }
    if !matches!(said, Some(Ok(()))) || !inner.is_peer(hello.from) {
        return;
    }
    let name = StreamName { peer: hello.from, lane: hello.lane, way: Way::In };
    let session = Rc::new(Session { name, end: RefCell::default(), knock: Knock::default() });
    let before = inner.sessions.borrow_mut().insert((name.peer, name.lane), session.clone());
    if let Some(before) = before {
        before.end(StreamError::Replaced);
    }
    inner.sink.news(PeerNews::Up(name));
    inner.hurry(name.peer);
    let error = read(inner, &session, arrival.stream).await;
    let mut sessions = inner.sessions.borrow_mut();
    if sessions.get(&(name.peer, name.lane)).is_some_and(|now| Rc::ptr_eq(now, &session)) {
        sessions.remove(&(name.peer, name.lane));
    }
    drop(sessions);
    inner.sink.news(PeerNews::Down(name, error));
}

fn refused(inner: &Inner, caller: Peer, hello: &Hello, verdict: Verdict) {
    let (from, cluster_id) = (hello.from, hello.cluster_id);
    inner.sink.news(PeerNews::Refused { caller, from, cluster_id, verdict });
}

async fn greeted(inner: &Inner, stream: &mut TcpStream) -> Result<Hello, StreamError> {
    sys::tune_peer(stream, inner.options.unacked_max).map_err(StreamError::Broken)?;
    let mut bytes = [0; HELLO_BYTES];
    let read = within(inner.options.greet_timeout, stream.read_exact(&mut bytes)).await;
    read.ok_or(StreamError::Silent)?.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => StreamError::Closed,
        _ => StreamError::Broken(error),
    })?;
    Hello::decode(&bytes).map_err(StreamError::Greeting)
}

/// A member that has just started learns from its own data who its peers are. Callers wait for
/// that, not for their next attempt.
async fn introduced(inner: &Inner) {
    let patience = inner.options.greet_timeout / 2;
    let wait = async {
        while !inner.introduced.get() {
            glommio::timer::sleep(INTRODUCTION_LOOK).await;
        }
    };
    let _ = within(patience, wait).await;
}

/// In the order in which etcd looks at it.
fn judge(inner: &Inner, hello: &Hello) -> Verdict {
    let options = &inner.options;
    if hello.version < options.version_min || options.version < hello.version_min {
        return Verdict::Incompatible;
    }
    if hello.cluster_id != options.cluster_id {
        return Verdict::WrongCluster;
    }
    if inner.removed.borrow().contains(&hello.from) {
        return Verdict::Removed;
    }
    if !inner.is_peer(hello.from) {
        return Verdict::UnknownMember;
    }
    if hello.to != options.member_id {
        return Verdict::WrongMember;
    }
    Verdict::Accepted
}

/// Reads until the connection ends.
async fn read(inner: &Inner, session: &Session, mut stream: TcpStream) -> StreamError {
    let mut frames = FrameReader::new(session.name.lane);
    poll_fn(|context| {
        while session.knock.poll(context) {}
        if let Some(why) = session.end.take() {
            return Poll::Ready(why);
        }
        for _ in 0..READ_ROUNDS_MAX {
            match read_once(inner, session, &mut stream, &mut frames, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

fn read_once(
    inner: &Inner,
    session: &Session,
    stream: &mut TcpStream,
    frames: &mut FrameReader,
    context: &mut Context<'_>,
) -> Poll<Result<(), StreamError>> {
    let mut scratch = inner.scratch.borrow_mut();
    let bytes = match Pin::new(stream).poll_read(context, &mut scratch) {
        Poll::Pending => return Poll::Pending,
        Poll::Ready(Ok(0)) => return Poll::Ready(Err(StreamError::Closed)),
        Poll::Ready(Ok(bytes)) => bytes,
        Poll::Ready(Err(error)) => return Poll::Ready(Err(StreamError::Broken(error))),
    };
    let StreamName { peer, lane, .. } = session.name;
    inner.count(peer, |counts| counts.received_bytes += bytes as u64);
    let mut input = &scratch[..bytes];
    while let Some(payload) = frames.next(&mut input).map_err(StreamError::Frame)? {
        inner.sink.received(peer, lane, payload).map_err(|_| StreamError::Payload)?;
    }
    Poll::Ready(Ok(()))
}
