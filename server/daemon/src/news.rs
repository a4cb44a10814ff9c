//! Owns the lines that operators and their scripts wait for, in etcd's words.
//! Invariant: `ready to serve client requests` is written only after the member has published
//! itself through the log.

use std::cell::Cell;
use std::time::Instant as Clock;

use node::leader::Report;
use settings::Settings;

use crate::checks;
use crate::config::{Identity, VERSION};
use crate::ports::Role;
use crate::setup::{line, value_of};
use crate::versions;

/// Before the cores start.
pub fn starting(settings: &Settings, who: Identity) {
    let mut fields: Vec<(&str, journal::Value)> = vec![("etcd-version", VERSION.into())];
    fields.extend(settings.fields().iter().map(|(name, value)| (*name, value_of(value))));
    line(journal::Level::Info, "starting an etcd server", &fields);
    journal::info!("starting local member", "local-member-id" => hex(who.member_id),
        "cluster-id" => hex(who.cluster_id));
    journal::info!("starting etcd server", "local-member-id" => hex(who.member_id),
        "local-server-version" => VERSION, "cluster-id" => hex(who.cluster_id),
        "cluster-version" => "to_be_decided");
    if let Some(gap) = settings.checks.every {
        journal::info!("enabled corruption checking", "local-member-id" => hex(who.member_id),
            "interval" => base::span::text(gap));
    }
}

/// What the leader reports, told as it unfolds.
pub struct Story {
    settings: Settings,
    who: Identity,
    /// Whom the group follows, 0 for nobody.
    leader: Cell<u64>,
    /// Since when leadership is being handed over.
    handing: Cell<Option<Clock>>,
    removed: Cell<bool>,
}

impl Story {
    /// Nothing has happened.
    pub fn new(settings: Settings, who: Identity) -> Story {
        let (leader, handing, removed) = (Cell::new(0), Cell::new(None), Cell::new(false));
        Story { settings, who, leader, handing, removed }
    }

    /// Tells a report; whether it is news.
    pub fn report(&self, report: &Report) -> bool {
        match report {
            Report::Role { term, leader } => self.role(*term, *leader),
            // Every peer says so.
            Report::Removed if self.removed.replace(true) => return false,
            Report::Initialized { .. }
            | Report::Forced { .. }
            | Report::NotForced { .. }
            | Report::Serving
            | Report::Checkpointed { .. }
            | Report::Compacted { .. }
            | Report::NoSpace
            | Report::Version(_)
            | Report::Check(_)
            | Report::Alarm { .. }
            | Report::DiskStuck { .. }
            | Report::Removed
            | Report::Broken { .. }
            | Report::Stopped => tell(&self.settings, self.who, report),
        }
        true
    }

    fn role(&self, term: u64, leader: u64) {
        let own = hex(self.who.member_id);
        let before = self.leader.replace(leader);
        if before == leader {
            return;
        }
        if leader == self.who.member_id {
            raft(&format!("{own} became leader at term {term}"));
        }
        let (old, new) = (hex(before), hex(leader));
        raft(&match (before, leader) {
            (0, _) => format!("raft.node: {own} elected leader {new} at term {term}"),
            (_, 0) => format!("raft.node: {own} lost leader {old} at term {term}"),
            (_, _) => format!("raft.node: {own} changed leader from {old} to {new} at term {term}"),
        });
        if leader != 0
            && leader != self.who.member_id
            && let Some(since) = self.handing.take()
        {
            journal::info!("leadership transfer finished", "local-member-id" => own,
                "old-leader-member-id" => hex(self.who.member_id), "new-leader-member-id" => new,
                "took" => since.elapsed());
        }
    }

    /// The member is about to stop.
    pub fn leaving(&self, peers: usize) {
        let own = hex(self.who.member_id);
        if peers == 0 {
            journal::info!("skipped leadership transfer for single voting member cluster");
        } else if self.leader.get() != self.who.member_id {
            journal::info!("skipped leadership transfer; local server is not leader",
                "local-member-id" => own, "current-leader-member-id" => hex(self.leader.get()));
        } else {
            self.handing.set(Some(Clock::now()));
            journal::info!("leadership transfer starting", "local-member-id" => own.clone(),
                "current-leader-member-id" => own);
        }
    }
}

fn raft(message: &str) {
    journal::write(&journal::Line {
        level: journal::Level::Info,
        logger: Some("raft"),
        caller: journal::Caller { file: file!(), line: line!() },
        message,
        fields: &[],
    });
}

fn tell(settings: &Settings, who: Identity, report: &Report) {
    let member = hex(who.member_id);
    match report {
        Report::Initialized { generation, revision } => {
            journal::info!("opened the store", "generation" => *generation,
                "revision" => *revision);
        }
        Report::Role { .. } => unreachable!("told with what was before"),
        Report::Forced { removed, known, held, commit } => {
            forced(who, removed, (*known, *held), *commit);
        }
        Report::NotForced { why } => {
            journal::error!("--force-new-cluster: this member cannot go on alone", "error" => *why);
            journal::exit(1);
        }
        Report::Serving => {
            let urls: Vec<String> =
                settings.advertise.client.iter().map(ToString::to_string).collect();
            let attributes = format!("{{Name:{} ClientURLs:[{}]}}", settings.name, urls.join(" "));
            journal::info!("published local member to cluster through raft",
                "local-member-id" => member, "local-member-attributes" => attributes,
                "cluster-id" => hex(who.cluster_id));
        }
        Report::Checkpointed { generation, index } => {
            journal::debug!("checkpoint in force", "generation" => *generation, "index" => *index);
        }
        Report::Compacted { revision } => {
            journal::info!("starting auto compaction", "revision" => *revision);
        }
        Report::NoSpace => {
            journal::warn!("message exceeded backend quota; raising alarm",
                "local-member-id" => member);
        }
        Report::Version(news) => versions::tell(who, news),
        Report::Check(news) => checks::tell(who, news),
        Report::Alarm { member, alarm, is_on: true } => checks::raised(*member, *alarm),
        Report::Alarm { member, alarm, is_on: false } => checks::disarmed(*member, *alarm),
        Report::DiskStuck { age, to } => {
            journal::warn!(
                "a write of the log does not come back; leadership is handed over: check the disk",
                "local-member-id" => member, "took" => format!("{age:?}"),
                "new-leader-id" => hex(*to));
        }
        Report::Removed => {
            journal::warn!("server error",
                "error" => "the member has been permanently removed from the cluster");
            journal::warn!("data-dir used by this member must be removed");
        }
        Report::Broken { what } => broken(what),
        Report::Stopped => {}
    }
}

/// The member goes on alone. The words are etcd's, but for the entries that etcd discards.
fn forced(who: Identity, removed: &[u64], (known, held): (u64, u64), commit: u64) {
    let (cluster, member) = (hex(who.cluster_id), hex(who.member_id));
    if known < held {
        journal::info!("keeping uncommitted WAL entries; acknowledged writes may be among them",
            "entry-index" => known + 1, "commit-index-from-wal" => known,
            "number-of-kept-entries" => held - known);
    }
    journal::info!("forcing restart member", "cluster-id" => cluster.clone(),
        "local-member-id" => member.clone(), "commit-index" => commit);
    for peer in removed {
        journal::info!("removed member", "cluster-id" => cluster.clone(),
            "local-member-id" => member.clone(), "removed-remote-peer-id" => hex(*peer));
    }
}

/// The process cannot go on.
pub fn broken(what: &str) {
    journal::error!("the member stops: data or disk cannot be trusted", "error" => what);
    journal::exit(1);
}

/// A listener is about to serve.
pub fn listening(role: Role, address: &str) {
    match role {
        Role::Client => serving(address, "grpc+http"),
        Role::ClientGrpc => serving(address, "grpc"),
        Role::ClientHttp => serving(address, "http"),
        Role::Peer => journal::info!("serving peer traffic", "address" => address),
        Role::Metrics => journal::info!("serving metrics", "address" => address),
    }
}

fn serving(address: &str, traffic: &str) {
    journal::info!("serving client traffic insecurely; this is strongly discouraged!",
        "traffic" => traffic, "address" => address);
}

/// Clients may come.
pub fn ready() {
    journal::info!("ready to serve client requests");
    journal::info!("notifying init daemon");
    match notify_init() {
        Ok(()) => journal::info!("successfully notified init daemon"),
        Err(error) => {
            journal::error!("failed to notify systemd for readiness", "error" => error.to_string());
        }
    }
}

fn notify_init() -> std::io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    socket.send_to(b"READY=1", path)?;
    Ok(())
}

/// A signal came.
pub fn stopping(signal: i32) {
    let name = match signal {
        signal_hook::consts::SIGINT => "interrupt",
        _ => "terminated",
    };
    journal::info!("received signal; shutting down", "signal" => name);
    journal::info!("closing etcd server");
}

/// Everything is closed.
pub fn stopped() {
    journal::info!("stopping serving peer traffic");
    journal::info!("stopped serving peer traffic");
    journal::info!("closed etcd server");
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}
