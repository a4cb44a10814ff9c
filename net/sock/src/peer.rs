//! Owns the streams to and from the other members: one each way and lane, kept up, bounded, and
//! told of. Carries payloads, and decides nothing about them.
//! Runs on one core. Invariant: payloads of one stream arrive in order and once; what was lost is
//! told by an error of [`Transport::send`] or by news of the stream, and a sender who was told
//! nothing may still have lost what was on its way.
//!
//! ```text
//!   A: link to B, prompt  ------>  B: session from A, prompt
//!   A: link to B, bulk    ------>  B: session from A, bulk
//!   A: sessions from B    <------  B: links to A
//! ```

mod backoff;
mod incoming;
mod knock;
mod outgoing;
mod place;
mod queue;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use base::Prng;
use bytes::Bytes;
use wire::peer::{BadFrame, BadGreeting, Lane, Verdict, Version};

use crate::limits::READ_BYTES;
use crate::listen::Arrival;
use crate::server::Server;
use crate::service::Peer;
use incoming::Session;
use outgoing::{Link, Standing};

/// What the member is told once about its peers' streams.
#[derive(Clone, Copy, Debug)]
pub struct PeerOptions {
    /// The cluster.
    pub cluster_id: u64,
    /// This member.
    pub member_id: u64,
    /// Its version.
    pub version: Version,
    /// The oldest version that it works with.
    pub version_min: Version,
    /// For one address to accept a connection.
    pub dial_timeout: Duration,
    /// For the first words.
    pub greet_timeout: Duration,
    /// What was sent and is not acknowledged by the peer's kernel for so long is lost.
    pub unacked_max: Duration,
    /// Before the second attempt to connect.
    pub retry_min: Duration,
    /// Between two attempts, at most.
    pub retry_max: Duration,
    /// Payloads that may wait for one peer's prompt stream.
    pub prompt_bytes_max: usize,
    /// Payloads that may wait for one peer's bulk stream.
    pub bulk_bytes_max: usize,
    /// Dice for the pauses between attempts.
    pub seed: u64,
}

/// Where a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPlace {
    /// Who.
    pub id: u64,
    /// `http://host:port`; they are tried in turn.
    pub urls: Vec<String>,
}

/// Bytes that arrived whole and yet mean nothing to the member: the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPayload;

/// What the member implements. Called from tasks of the streams, never from within
/// [`Transport::send`] or [`Transport::connect`].
pub trait PeerSink {
    /// A payload arrived from a member of the list.
    fn received(&self, from: u64, lane: Lane, payload: Bytes) -> Result<(), BadPayload>;
    /// Something happened to a stream.
    fn news(&self, news: PeerNews);
}

/// Which way payloads go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the peer.
    Out,
    /// From the peer.
    In,
}

/// One stream, as news name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamName {
    /// The other end.
    pub peer: u64,
    /// Which lane.
    pub lane: Lane,
    /// Which way.
    pub way: Way,
}

/// What happens to streams.
#[derive(Debug)]
pub enum PeerNews {
    /// It carries payloads from now on.
    Up(StreamName),
    /// It was up and is no more. What was on its way or waited for it is lost.
    Down(StreamName, StreamError),
    /// An attempt to connect failed; another follows. What waited is lost.
    Unreached(StreamName, StreamError),
    /// The peer says that this member was removed from the cluster.
    ToldRemoved {
        /// Which peer.
        by: u64,
    },
    /// A caller was sent away.
    Refused {
        /// Where it called from.
        caller: Peer,
        /// Who it says it is.
        from: u64,
        /// The cluster that it says it belongs to.
        cluster_id: u64,
        /// Why.
        verdict: Verdict,
    },
    /// A caller said something else than a hello.
    Stranger {
        /// Where it called from.
        caller: Peer,
        /// What was wrong.
        error: StreamError,
    },
}

/// Why a stream is not up.
#[derive(Debug)]
pub enum StreamError {
    /// A URL that no stream can be made of.
    Url(String),
    /// The name does not resolve.
    Resolve(String),
    /// No connection.
    Dial(SocketAddr, io::Error),
    /// The first words did not come in time.
    Silent,
    /// The first words were none.
    Greeting(BadGreeting),
    /// The called member does not want us.
    Refused(Verdict),
    /// The other end hung up.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// Bytes came where none may come.
    Unexpected,
    /// A frame was damaged or too long.
    Frame(BadFrame),
    /// A payload meant nothing.
    Payload,
    /// The peer opened another stream in its place.
    Replaced,
    /// The peer is no member any more, or this member stops.
    Ended,
}

impl fmt::Display for StreamError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Url(url) => write!(to, "{url}: not a URL that peers can be reached at"),
            StreamError::Resolve(why) => write!(to, "{why}"),
            StreamError::Dial(address, error) => {
                write!(to, "dial tcp {address}: connect: {}", reason(error))
            }
            StreamError::Broken(error) => write!(to, "{}", reason(error)),
            StreamError::Silent => write!(to, "no answer in time"),
            StreamError::Greeting(bad) => write!(to, "{bad}"),
            StreamError::Refused(verdict) => write!(to, "{}", verdict.text()),
            StreamError::Closed => write!(to, "EOF"),
            StreamError::Unexpected => write!(to, "bytes against the stream"),
            StreamError::Frame(bad) => write!(to, "{bad}"),
            StreamError::Payload => write!(to, "a payload without meaning"),
            StreamError::Replaced => write!(to, "replaced by a newer stream"),
            StreamError::Ended => write!(to, "stopped"),
        }
    }
}

/// What the system says, as Go says it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Why a payload was not taken. It is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// There is no such peer.
    Unknown,
    /// There is no connection, and one was tried lately.
    Down,
    /// Too much waits already.
    Full,
    /// It is longer than a frame may be.
    TooLong,
}

/// What passed between this member and one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Frames written to sockets, in bytes.
    pub sent_bytes: u64,
    /// Bytes read from sockets.
    pub received_bytes: u64,
    /// Payloads that were not taken or were lost before they were written.
    pub lost: u64,
}

/// The streams of one member.
#[derive(Clone)]
pub struct Transport(Rc<Inner>);

struct Inner {
    options: PeerOptions,
    sink: Rc<dyn PeerSink>,
    links: RefCell<BTreeMap<u64, [Rc<Link>; 2]>>,
    sessions: RefCell<BTreeMap<(u64, Lane), Rc<Session>>>,
    removed: RefCell<BTreeSet<u64>>,
    counts: RefCell<BTreeMap<u64, PeerCounts>>,
    /// Where `recv` puts bytes; empty between polls.
    scratch: RefCell<Box<[u8]>>,
    dice: RefCell<Prng>,
    /// Whether anybody has said who the peers are.
    introduced: Cell<bool>,
    stopped: Cell<bool>,
}

impl Transport {
    /// A transport without peers.
    pub fn new(options: PeerOptions, sink: Rc<dyn PeerSink>) -> Transport {
        Transport(Rc::new(Inner {
            options,
            sink,
            links: RefCell::default(),
            sessions: RefCell::default(),
            removed: RefCell::default(),
            counts: RefCell::default(),
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            dice: RefCell::new(Prng::from_seed(options.seed)),
            introduced: Cell::new(false),
            stopped: Cell::new(false),
        }))
    }

    /// All peers there are, in place of those named before. Streams to and from others end;
    /// callers in `removed` are told so.
    pub fn connect(&self, peers: &[PeerPlace], removed: impl IntoIterator<Item = u64>) {
        let inner = &self.0;
        assert!(!inner.stopped.get());
        inner.introduced.set(true);
        *inner.removed.borrow_mut() = removed.into_iter().collect();
        let others = || peers.iter().filter(|peer| peer.id != inner.options.member_id);
        let wanted: BTreeSet<u64> = others().map(|peer| peer.id).collect();
        inner.end_others(&wanted);
        for peer in others() {
            let mut links = inner.links.borrow_mut();
            let known = links.entry(peer.id).or_insert_with(|| {
                Lane::ALL.map(|lane| {
                    let link = Rc::new(Link::new(peer, lane, inner.room(lane)));
                    glommio::spawn_local(outgoing::run(inner.clone(), link.clone())).detach();
                    link
                })
            });
            for link in known.iter() {
                link.set_urls(&peer.urls);
            }
        }
    }

    /// Queues a payload for a peer. It leaves with everything else that is queued before the
    /// stream's task runs next.
    pub fn send(&self, to: u64, lane: Lane, payload: Bytes) -> Result<(), NotSent> {
        let taken = self.0.queue(to, lane, payload);
        match taken {
            Ok(()) | Err(NotSent::Unknown) => {}
            Err(NotSent::Down | NotSent::Full | NotSent::TooLong) => {
                self.0.count(to, |counts| counts.lost += 1);
            }
        }
        taken
    }

    /// Takes a connection of the peer port. What begins with our own first byte becomes a stream,
    /// everything else goes to `server`.
    pub fn adopt(&self, arrival: Arrival, server: Server) {
        glommio::spawn_local(incoming::first(self.0.clone(), arrival, server)).detach();
    }

    /// Whether a stream to the peer is up.
    pub fn is_up(&self, peer: u64, lane: Lane) -> bool {
        let links = self.0.links.borrow();
        links.get(&peer).is_some_and(|links| links[index(lane)].standing() == Standing::Up)
    }

    /// What passed, by peer.
    pub fn counts(&self) -> Vec<(u64, PeerCounts)> {
        self.0.counts.borrow().iter().map(|(peer, counts)| (*peer, *counts)).collect()
    }

    /// Ends every stream. The transport is of no use afterwards.
    pub fn stop(&self) {
        self.0.stopped.set(true);
        self.0.end_others(&BTreeSet::new());
    }
}

impl Inner {
    fn queue(&self, to: u64, lane: Lane, payload: Bytes) -> Result<(), NotSent> {
        let links = self.links.borrow();
        let link = &links.get(&to).ok_or(NotSent::Unknown)?[index(lane)];
        if lane.frame_bytes_max() < payload.len() {
            return Err(NotSent::TooLong);
        }
        link.send(payload)
    }

    fn end_others(&self, wanted: &BTreeSet<u64>) {
        self.links.borrow_mut().retain(|peer, links| {
            let stays = wanted.contains(peer);
            if !stays {
                links.iter().for_each(|link| link.end());
            }
            stays
        });
        self.sessions.borrow_mut().retain(|(peer, _), session| {
            let stays = wanted.contains(peer);
            if !stays {
                session.end(StreamError::Ended);
            }
            stays
        });
        self.counts.borrow_mut().retain(|peer, _| wanted.contains(peer));
    }

    fn room(&self, lane: Lane) -> usize {
        match lane {
            Lane::Prompt => self.options.prompt_bytes_max,
            Lane::Bulk => self.options.bulk_bytes_max,
        }
    }

    fn count(&self, peer: u64, add: impl FnOnce(&mut PeerCounts)) {
        add(self.counts.borrow_mut().entry(peer).or_default());
    }

    fn is_peer(&self, id: u64) -> bool {
        self.links.borrow().contains_key(&id)
    }

    /// A peer is there: whoever waits to call it need not wait longer.
    fn hurry(&self, peer: u64) {
        for link in self.links.borrow().get(&peer).into_iter().flatten() {
            link.hurry();
        }
    }
}

fn index(lane: Lane) -> usize {
    match lane {
        Lane::Prompt => 0,
        Lane::Bulk => 1,
    }
}

/// The future's value, or `None` if it does not come in time.
async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        glommio::timer::sleep(time).await;
        None
    };
    futures_lite::future::or(async { Some(future.await) }, late).await
}
