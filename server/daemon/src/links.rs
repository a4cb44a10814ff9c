//! Owns the leader's way to its peers: notes into payloads and back, and what the streams' news
//! mean to the leader and to the log.
//! Never decides whom to talk to. Invariant: the leader hears only of peers, and is told of every
//! loss that is known here.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime};

use base::Instant;
use bytes::Bytes;
use node::{LeaderEvent, PeerNote, PeerPlace};
use settings::Settings;
use sock::peer::{
    BadPayload, NotSent, PeerCounts, PeerNews, PeerOptions, PeerSink, StreamError, Transport,
};
use sock::peer::{StreamName, Way};
use wire::peer::{Lane, Verdict};

use crate::config::{CLUSTER_VERSION_MIN, Identity, VERSION, version};
use crate::core::Core;
use crate::metrics::peers::PeerFigures;
use crate::probe::Probe;

/// Payloads that may wait for a peer's prompt stream.
const PROMPT_BYTES_MAX: usize = 32 << 20;
/// Payloads that may wait for a peer's bulk stream.
const BULK_BYTES_MAX: usize = 4 << 20;
/// Callers that were sent away and are remembered, so that each is told of once.
const REFUSED_MAX: usize = 64;
/// Before the second attempt to connect.
const RETRY_MIN: Duration = Duration::from_millis(20);

/// The leader's streams.
pub struct Links {
    transport: Transport,
    ear: Rc<Ear>,
}

impl Links {
    /// No peers yet. Runs on core 0.
    pub fn new(core: &Rc<Core>, settings: &Settings, who: Identity, seed: u64) -> Links {
        let election = settings.timing.election;
        let options = PeerOptions {
            cluster_id: who.cluster_id,
            member_id: who.member_id,
            version: version(VERSION),
            version_min: version(CLUSTER_VERSION_MIN),
            // etcd's.
            dial_timeout: Duration::from_secs(1) + election,
            greet_timeout: Duration::from_secs(5),
            // A peer whose kernel is silent for so long has lost us, or we it: a new connection
            // finds out sooner than retransmissions do.
            unacked_max: election.clamp(Duration::from_secs(1), Duration::from_secs(5)),
            retry_min: RETRY_MIN,
            retry_max: (election / 2).clamp(2 * RETRY_MIN, Duration::from_secs(1)),
            prompt_bytes_max: PROMPT_BYTES_MAX,
            bulk_bytes_max: BULK_BYTES_MAX,
            seed,
        };
        let ear = Rc::new(Ear {
            core: Rc::downgrade(core),
            member_id: who.member_id,
            cluster_id: who.cluster_id,
            places: RefCell::default(),
            up: RefCell::default(),
            told: RefCell::default(),
            refused: RefCell::default(),
            disconnections: RefCell::default(),
            unread: RefCell::default(),
            probes: RefCell::default(),
            transport: OnceCell::new(),
        });
        let transport = Transport::new(options, ear.clone());
        let set = ear.transport.set(transport.clone());
        assert!(set.is_ok());
        Links { transport, ear }
    }

    /// The streams, for whoever accepts connections of the peer port.
    pub fn transport(&self) -> Transport {
        self.transport.clone()
    }

    /// Sends a note; an error means that it is lost.
    pub fn send(&self, to: u64, note: &PeerNote) -> Result<(), NotSent> {
        let lane = match note.lane() {
            node::Lane::Prompt => Lane::Prompt,
            node::Lane::Bulk => Lane::Bulk,
        };
        let payload = note.encode();
        let bytes = payload.len();
        let sent = self.transport.send(to, lane, payload);
        if let Err(NotSent::TooLong) = sent {
            journal::error!("a note to a peer is longer than a frame may be",
                "remote-peer-id" => hex(to), "bytes" => bytes as u64);
        }
        sent
    }

    /// Asks every peer that can be reached how long the way there and back is.
    pub fn probe(&self, now: Instant) {
        let peers = self.ear.places.borrow();
        let mut probes = self.ear.probes.borrow_mut();
        for peer in peers.keys().filter(|peer| self.transport.is_up(**peer, Lane::Prompt)) {
            let note = PeerNote::Probe { sent: now.0 };
            if self.transport.send(*peer, Lane::Prompt, note.encode()).is_ok() {
                probes.entry(*peer).or_insert_with(Probe::new).asked(now);
            }
        }
    }

    /// How many peers there are.
    pub fn count(&self) -> usize {
        self.ear.places.borrow().len()
    }

    /// What passed, by peer.
    pub fn figures(&self) -> Vec<PeerFigures> {
        let counts: BTreeMap<u64, PeerCounts> = self.transport.counts().into_iter().collect();
        let disconnections = self.ear.disconnections.borrow();
        let unread = self.ear.unread.borrow();
        let probes = self.ear.probes.borrow();
        let peers = self.ear.places.borrow();
        let figures = peers.keys().map(|id| PeerFigures {
            id: *id,
            is_active: self.ear.is_active(*id),
            disconnections: disconnections.get(id).copied().unwrap_or(0),
            unread: unread.get(id).copied().unwrap_or(0),
            trips: probes.get(id).map(|probe| probe.trips.clone()),
            counts: counts.get(id).copied().unwrap_or_default(),
        });
        figures.collect()
    }

    /// All peers there are.
    pub fn connect(&self, peers: &[PeerPlace], removed: &[u64]) {
        self.ear.tell_changes(peers);
        let places: Vec<sock::peer::PeerPlace> = peers
            .iter()
            .map(|peer| sock::peer::PeerPlace { id: peer.id, urls: peer.urls.clone() })
            .collect();
        self.transport.connect(&places, removed.iter().copied());
    }
}

/// What the streams report to.
struct Ear {
    core: Weak<Core>,
    member_id: u64,
    cluster_id: u64,
    places: RefCell<BTreeMap<u64, Vec<String>>>,
    /// Streams that are up.
    up: RefCell<BTreeSet<(u64, Lane, IsOut)>>,
    /// Outgoing streams whose failure was told since they were last up.
    told: RefCell<BTreeSet<(u64, Lane)>>,
    /// Who was sent away lately, and why.
    refused: RefCell<BTreeMap<u64, Verdict>>,
    /// How often a peer became inactive.
    disconnections: RefCell<BTreeMap<u64, u64>>,
    /// How often a stream of a peer ended in bytes that nobody could read.
    unread: RefCell<BTreeMap<u64, u64>>,
    probes: RefCell<BTreeMap<u64, Probe>>,
    /// For answers to probes; both live as long as the process.
    transport: OnceCell<Transport>,
}

type IsOut = bool;

impl PeerSink for Ear {
    fn received(&self, from: u64, lane: Lane, payload: Bytes) -> Result<(), BadPayload> {
        let note = PeerNote::decode(&payload).map_err(|_| BadPayload)?;
        let expected = match note.lane() {
            node::Lane::Prompt => Lane::Prompt,
            node::Lane::Bulk => Lane::Bulk,
        };
        if lane != expected {
            return Err(BadPayload);
        }
        match note {
            PeerNote::Probe { sent } => self.answer_probe(from, sent),
            PeerNote::Probed { sent, wall_ns } => self.probed(from, Instant(sent), wall_ns),
            PeerNote::Raft(_)
            | PeerNote::Commands(_)
            | PeerNote::Ask { .. }
            | PeerNote::Answer { .. }
            | PeerNote::Part { .. }
            | PeerNote::Taken { .. }
            | PeerNote::Refused { .. } => {
                self.tell_leader(LeaderEvent::Received { from, note });
            }
        }
        Ok(())
    }

    fn news(&self, news: PeerNews) {
        match news {
            PeerNews::Up(stream) => self.up(stream),
            PeerNews::Down(stream, error) => self.down(stream, &error),
            PeerNews::Unreached(stream, error) => self.unreached(stream, &error),
            PeerNews::ToldRemoved { by } => self.tell_leader(LeaderEvent::ToldRemoved { by }),
            PeerNews::Refused { caller, from, cluster_id, verdict } => {
                self.refused(&address(caller), from, cluster_id, verdict);
                if verdict == Verdict::UnknownMember {
                    self.tell_leader(LeaderEvent::Stranger { peer: from });
                }
            }
            PeerNews::Stranger { caller, error } => {
                journal::warn!("rejected connection on peer endpoint",
                    "remote-addr" => address(caller), "error" => error.to_string());
            }
        }
    }
}

impl Ear {
    fn tell_leader(&self, event: LeaderEvent) {
        // Only at the end of the process is there no core.
        if let Some(core) = self.core.upgrade() {
            core.tell_leader(event);
        }
    }

    fn answer_probe(&self, from: u64, sent: u64) {
        let note = PeerNote::Probed { sent, wall_ns: wall_ns() };
        let transport = self.transport.get().expect("set before anybody calls");
        // A probe that is lost says nothing; the next one will.
        let _ = transport.send(from, Lane::Prompt, note.encode());
    }

    fn probed(&self, from: u64, sent: Instant, theirs: u64) {
        let Some(core) = self.core.upgrade() else { return };
        let mut probes = self.probes.borrow_mut();
        let Some(probe) = probes.get_mut(&from) else { return };
        if let Some(drift) = probe.answered(core.now(), sent, wall_ns(), theirs) {
            journal::warn!("prober found high clock drift",
                "round-tripper-name" => "ROUND_TRIPPER_RAFT_MESSAGE",
                "remote-peer-id" => hex(from),
                "clock-drift" => base::span::text(drift.behind),
                "rtt" => base::span::text(drift.trip));
        }
    }

    fn is_active(&self, peer: u64) -> bool {
        self.up.borrow().iter().any(|(up, _, _)| *up == peer)
    }

    fn up(&self, stream: StreamName) {
        if !self.is_active(stream.peer) {
            journal::info!("peer became active", "peer-id" => hex(stream.peer));
            self.tell_leader(LeaderEvent::Connected { peer: stream.peer });
        }
        self.up.borrow_mut().insert(key(stream));
        self.told.borrow_mut().remove(&(stream.peer, stream.lane));
        let (end, kind) = kind(stream);
        crate::setup::line(
            journal::Level::Info,
            "established TCP streaming connection with remote peer",
            &[
                (end, kind.into()),
                ("local-member-id", hex(self.member_id).into()),
                ("remote-peer-id", hex(stream.peer).into()),
            ],
        );
    }

    fn down(&self, stream: StreamName, error: &StreamError) {
        if !matches!(error, StreamError::Replaced) {
            self.up.borrow_mut().remove(&key(stream));
        }
        if stream.way == Way::In && is_unreadable(error) {
            *self.unread.borrow_mut().entry(stream.peer).or_default() += 1;
        }
        let (end, kind) = kind(stream);
        crate::setup::line(
            journal::Level::Warn,
            "lost TCP streaming connection with remote peer",
            &[
                (end, kind.into()),
                ("local-member-id", hex(self.member_id).into()),
                ("remote-peer-id", hex(stream.peer).into()),
                ("error", error.to_string().into()),
            ],
        );
        if !self.is_active(stream.peer) {
            *self.disconnections.borrow_mut().entry(stream.peer).or_default() += 1;
            journal::warn!("peer became inactive (message send to peer failed)",
                "peer-id" => hex(stream.peer), "error" => error.to_string());
            self.tell_leader(LeaderEvent::Disconnected { peer: stream.peer });
        }
        if stream.way == Way::Out {
            self.tell_leader(LeaderEvent::Unreachable { peer: stream.peer });
        }
    }

    fn unreached(&self, stream: StreamName, error: &StreamError) {
        // One line until it is up again: attempts go on. The words are etcd's.
        let is_news = self.told.borrow_mut().insert((stream.peer, stream.lane));
        if is_news && let Some(message) = ignored(error) {
            crate::setup::line(
                journal::Level::Warn,
                message,
                &[
                    ("remote-peer-id", hex(stream.peer).into()),
                    ("local-member-id", hex(self.member_id).into()),
                    ("local-member-cluster-id", hex(self.cluster_id).into()),
                    ("error", error.to_string().into()),
                ],
            );
        }
        if is_news {
            let name = match stream.lane {
                Lane::Prompt => "ROUND_TRIPPER_RAFT_MESSAGE",
                Lane::Bulk => "ROUND_TRIPPER_SNAPSHOT",
            };
            journal::warn!("prober detected unhealthy status", "round-tripper-name" => name,
                "remote-peer-id" => hex(stream.peer), "rtt" => "0s",
                "error" => error.to_string());
        }
        self.tell_leader(LeaderEvent::Unreachable { peer: stream.peer });
        if let StreamError::Dial(_, error) = error
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            self.tell_leader(LeaderEvent::Ended { peer: stream.peer });
        }
    }

    fn refused(&self, caller: &str, from: u64, cluster_id: u64, verdict: Verdict) {
        // It comes again and again, for the same reason.
        let mut told = self.refused.borrow_mut();
        // Whoever invents names does not grow this.
        if REFUSED_MAX <= told.len() {
            told.clear();
        }
        if told.insert(from, verdict) == Some(verdict) {
            return;
        }
        let fields: &[(&str, journal::Value)] = &[
            ("local-member-id", hex(self.member_id).into()),
            ("local-member-cluster-id", hex(self.cluster_id).into()),
            ("remote-peer-id-from", hex(from).into()),
            ("remote-peer-cluster-id", hex(cluster_id).into()),
            ("remote-addr", caller.into()),
        ];
        let message = match verdict {
            Verdict::Removed => "rejected stream from remote peer because it was removed",
            Verdict::WrongCluster => "request cluster ID mismatch",
            Verdict::WrongMember => "ignored streaming request; ID mismatch",
            Verdict::UnknownMember => "failed to find remote peer in cluster",
            Verdict::Incompatible => {
                "request received was ignored by remote peer due to server \
                                      version incompatibility"
            }
            Verdict::Accepted => unreachable!("it was refused"),
        };
        crate::setup::line(journal::Level::Warn, message, fields);
    }

    /// etcd's lines of members that come and go.
    fn tell_changes(&self, peers: &[PeerPlace]) {
        let now: BTreeMap<u64, Vec<String>> =
            peers.iter().map(|peer| (peer.id, peer.urls.clone())).collect();
        let before = self.places.replace(now.clone());
        self.probes.borrow_mut().retain(|peer, _| now.contains_key(peer));
        for (peer, urls) in &now {
            let local = hex(self.member_id);
            match before.get(peer) {
                None => journal::info!("added remote peer", "local-member-id" => local,
                    "remote-peer-id" => hex(*peer), "remote-peer-urls" => urls.clone()),
                Some(known) if known != urls => {
                    journal::info!("updated remote peer", "local-member-id" => local,
                        "updated-remote-peer-id" => hex(*peer),
                        "updated-remote-peer-urls" => urls.clone());
                }
                Some(_) => {}
            }
        }
        for peer in before.keys().filter(|peer| !now.contains_key(peer)) {
            journal::info!("removed remote peer", "local-member-id" => hex(self.member_id),
                "removed-remote-peer-id" => hex(*peer));
        }
    }
}

fn key(stream: StreamName) -> (u64, Lane, IsOut) {
    (stream.peer, stream.lane, stream.way == Way::Out)
}

/// A stream as etcd names its kinds: each end by what it does.
fn kind(stream: StreamName) -> (&'static str, &'static str) {
    let end = match stream.way {
        Way::Out => "stream-writer-type",
        Way::In => "stream-reader-type",
    };
    let lane = match stream.lane {
        Lane::Prompt => "stream Message",
        Lane::Bulk => "stream Bulk",
    };
    (end, lane)
}

fn address(caller: sock::Peer) -> String {
    match caller {
        sock::Peer::Tcp(address) => address.to_string(),
        sock::Peer::Unix => "unix".to_owned(),
    }
}

/// etcd's line of a caller whom the called member does not want for what it is.
fn ignored(error: &StreamError) -> Option<&'static str> {
    let StreamError::Refused(verdict) = error else { return None };
    match verdict {
        Verdict::WrongCluster => {
            Some("request sent was ignored by remote peer due to cluster ID mismatch")
        }
        Verdict::Incompatible => {
            Some("request sent was ignored by remote peer due to server version incompatibility")
        }
        Verdict::Accepted | Verdict::WrongMember | Verdict::Removed | Verdict::UnknownMember => {
            None
        }
    }
}

/// Whether what arrived was the reason, rather than the connection.
fn is_unreadable(error: &StreamError) -> bool {
    matches!(error, StreamError::Frame(_) | StreamError::Payload | StreamError::Unexpected)
}

/// The clock on the wall, in nanoseconds since 1970; it may jump.
fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}
