//! Owns the metrics page: etcd's names where dashboards use them, and our own stages.
//! Keeps no figure: asks every core for its own and adds them up. Invariant: a name has one type
//! and is written once.

mod page;
pub mod peers;
mod process;

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use node::figures::{Histogram, LeaderCounts, LeaderFigures, STAGE_NS, ShardFigures};
use sock::{FlushTimes, HttpReply, HttpResponse};
use wire::{Code, Method, etcdserverpb as pb};

use crate::config::VERSION;
use crate::core::Core;
use crate::tally::Counts;
use crate::versions;
use page::{PLAIN, Page, TIME};

/// What one core, or all together, can tell.
pub struct Figures {
    /// Calls and turns.
    pub calls: Counts,
    /// The shard's.
    pub shard: ShardFigures,
    /// The leader's, from core 0.
    pub leader: Option<LeaderFigures>,
    /// The network's.
    pub network: sock::Stats,
    /// Output that waited for the kernel.
    pub socket: Histogram,
    /// Streams between members, from core 0.
    pub peers: Vec<peers::PeerFigures>,
}

impl Figures {
    /// Adds another core's.
    pub fn add(&mut self, other: Figures) {
        self.calls.add(&other.calls);
        self.shard.add(&other.shard);
        self.leader = self.leader.take().or(other.leader);
        self.network.add(&other.network);
        self.socket.add(&other.socket);
        self.peers.extend(other.peers);
    }
}

/// The network's flush times in the classes of the other stages.
pub fn socket(times: &FlushTimes) -> Histogram {
    Histogram::of(&STAGE_NS, &times.classes, times.sum_ns)
}

/// Answers `/metrics`.
pub fn serve(core: &Rc<Core>, reply: HttpReply) {
    let gates = core.shared.gates.clone();
    core.look(Box::new(move |figures| {
        let body = text(&figures, &gates);
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, kind);
        reply.respond(HttpResponse { status: StatusCode::OK, headers, body: Bytes::from(body) });
    }));
}

fn text(figures: &Figures, gates: &settings::gates::Gates) -> String {
    let mut page = Page::default();
    let leader = figures.leader.as_ref().expect("core 0 is one of those that were asked");
    member(&mut page, leader);
    for (at, (gate, on)) in gates.all().enumerate() {
        if at == 0 {
            page.family("etcd_server_feature_enabled", "gauge");
        }
        let labels = format!("name=\"{}\",stage=\"{}\"", gate.name, gate.stage.word());
        page.sample("etcd_server_feature_enabled", &labels, u64::from(on));
    }
    proposals(&mut page, leader, figures);
    store(&mut page, leader, figures);
    leases(&mut page, &leader.counts, figures);
    disk(&mut page, leader);
    stages(&mut page, &leader.counts, figures);
    grpc(&mut page, &figures.calls);
    peers::write(&mut page, leader.member_id, &figures.peers);
    for (name, value) in figures.network.each() {
        match name.strip_suffix("_now") {
            Some(name) => page.gauge(&format!("ringleader_network_{name}"), value),
            None => page.counter(&format!("ringleader_network_{name}_total"), value),
        }
    }
    process::write(&mut page);
    page.into_text()
}

/// Who the member is and how it stands in its group.
fn member(page: &mut Page, leader: &LeaderFigures) {
    let id = leader.member_id;
    page.gauge("etcd_server_has_leader", u64::from(leader.leader != 0));
    page.gauge("etcd_server_is_leader", u64::from(leader.leader == id));
    page.gauge("etcd_server_is_learner", u64::from(leader.is_learner));
    page.fact("etcd_server_id", &format!("server_id=\"{id:x}\""));
    page.fact("etcd_server_version", &format!("server_version=\"{VERSION}\""));
    if let Some(version) = leader.cluster_version {
        let label = format!("cluster_version=\"{}\"", versions::short(version));
        page.fact("etcd_cluster_version", &label);
    }
    page.counter("etcd_server_leader_changes_seen_total", leader.counts.leader_changes);
    page.counter("etcd_server_heartbeat_send_failures_total", leader.counts.heartbeats_late);
    let installing = u64::from(leader.is_installing);
    page.gauge("etcd_server_snapshot_apply_in_progress_total", installing);
    page.counter("etcd_server_learner_promote_successes", leader.counts.promotions);
    for (at, (reason, count)) in leader.counts.promotions_refused.iter().enumerate() {
        if at == 0 {
            page.family("etcd_server_learner_promote_failures", "counter");
        }
        page.sample("etcd_server_learner_promote_failures", &format!("Reason=\"{reason}\""), count);
    }
    page.gauge("etcd_server_quota_backend_bytes", leader.quota_bytes);
    if !leader.alarms.is_empty() {
        page.family("etcd_debugging_server_alarms", "gauge");
    }
    for (member, alarm) in &leader.alarms {
        let name = pb::AlarmType::try_from(*alarm).map_or("UNKNOWN", |alarm| alarm.as_str_name());
        let labels = format!("server_id=\"{member:x}\",alarm_type=\"{name}\"");
        page.sample("etcd_debugging_server_alarms", &labels, 1);
    }
}

/// Commands and reads on their way through the group.
fn proposals(page: &mut Page, leader: &LeaderFigures, figures: &Figures) {
    let counts = &leader.counts;
    page.gauge("etcd_server_proposals_committed_total", leader.committed);
    page.gauge("etcd_server_proposals_applied_total", leader.applied);
    page.gauge("etcd_server_proposals_pending", leader.proposals_pending);
    let failed = counts.proposals_lost + figures.shard.proposals_failed;
    page.counter("etcd_server_proposals_failed_total", failed);
    page.counter("etcd_server_slow_apply_total", counts.applies_slow);
    page.counter("etcd_server_slow_read_indexes_total", counts.rounds_slow);
    page.counter("etcd_server_read_indexes_failed_total", figures.shard.reads_failed);
    page.counter("etcd_server_health_success", figures.calls.health_good);
    page.counter("etcd_server_health_failures", figures.calls.health_bad);
}

/// Keys, revisions, sizes, watches.
fn store(page: &mut Page, leader: &LeaderFigures, figures: &Figures) {
    let (counts, shard) = (&leader.counts, &figures.shard);
    page.gauge("etcd_mvcc_db_total_size_in_bytes", leader.file_bytes);
    page.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", leader.used_bytes);
    page.gauge("etcd_mvcc_db_open_read_transactions", shard.reads_open);
    page.counter("etcd_mvcc_put_total", counts.puts);
    page.counter("etcd_mvcc_delete_total", counts.deletes);
    page.counter("etcd_mvcc_range_total", shard.ranges);
    page.counter("etcd_mvcc_txn_total", counts.txns);
    page.gauge("etcd_debugging_mvcc_total_put_size_in_bytes", counts.put_bytes);
    page.gauge("etcd_debugging_mvcc_keys_total", leader.keys);
    page.gauge("etcd_debugging_mvcc_current_revision", leader.revision);
    page.gauge("etcd_debugging_mvcc_compact_revision", leader.compact_revision);
    page.gauge("etcd_debugging_mvcc_watch_stream_total", shard.watch_streams);
    page.gauge("etcd_debugging_mvcc_watcher_total", shard.watchers);
    page.gauge("etcd_debugging_mvcc_slow_watcher_total", shard.watchers_slow);
    page.counter("etcd_debugging_mvcc_events_total", shard.events);
    // Events go to the network in the turn that made them: between turns none is pending.
    page.gauge("etcd_debugging_mvcc_pending_events_total", 0);
}

fn leases(page: &mut Page, counts: &LeaderCounts, figures: &Figures) {
    page.counter("etcd_debugging_lease_granted_total", counts.leases_granted);
    page.counter("etcd_debugging_lease_revoked_total", counts.leases_revoked);
    page.counter("etcd_debugging_lease_renewed_total", figures.shard.leases_renewed);
    page.counter("etcd_debugging_server_lease_expired_total", counts.leases_expired);
    page.histogram("etcd_debugging_lease_ttl_total", PLAIN, &counts.lease_ttl);
}

fn disk(page: &mut Page, leader: &LeaderFigures) {
    let counts = &leader.counts;
    page.histogram("etcd_disk_wal_fsync_duration_seconds", TIME, &counts.log_disk);
    page.gauge("etcd_disk_wal_write_bytes_total", counts.log_bytes);
    page.histogram("etcd_disk_backend_commit_duration_seconds", TIME, &counts.checkpoint);
    page.gauge("ringleader_log_kept_segments", leader.segments_kept);
    // What peers that lagged got: old entries out of the log, or the whole store.
    page.counter("ringleader_log_fetched_entries_total", counts.entries_fetched);
    page.counter("ringleader_log_fetched_bytes_total", counts.bytes_fetched);
    page.counter("ringleader_whole_stores_sent_total", counts.stores_sent);
}

/// Where the time of a request goes.
fn stages(page: &mut Page, counts: &LeaderCounts, figures: &Figures) {
    const NAME: &str = "ringleader_stage_seconds";
    page.family(NAME, "histogram");
    let stages = [
        ("queue", &counts.queue),
        ("log", &counts.log),
        ("apply", &figures.calls.apply),
        ("encode", &figures.calls.encode),
        ("socket", &figures.socket),
    ];
    for (stage, histogram) in stages {
        page.buckets(NAME, &format!("stage=\"{stage}\""), TIME, histogram);
    }
}

/// Calls by method, and their bytes.
fn grpc(page: &mut Page, calls: &Counts) {
    page.counter("etcd_network_client_grpc_received_bytes_total", calls.received_bytes);
    page.counter("etcd_network_client_grpc_sent_bytes_total", calls.sent_bytes);
    page.family("etcd_server_client_requests_total", "counter");
    for client in &calls.clients {
        let version = escape(&client.version);
        for (kind, count) in [("stream", client.stream), ("unary", client.unary)] {
            if count > 0 {
                let labels = format!("client_api_version=\"{version}\",type=\"{kind}\"");
                page.sample("etcd_server_client_requests_total", &labels, count);
            }
        }
    }
    let methods: Vec<(String, usize)> =
        Method::ALL.iter().map(|method| (labels_of(*method), *method as usize)).collect();
    type Pick = fn(&crate::tally::MethodCounts) -> u64;
    let families: [(&str, Pick); 3] = [
        ("grpc_server_started_total", |counts| counts.started),
        ("grpc_server_msg_received_total", |counts| counts.received),
        ("grpc_server_msg_sent_total", |counts| counts.sent),
    ];
    for (name, pick) in families {
        page.family(name, "counter");
        for (labels, at) in &methods {
            page.sample(name, labels, pick(&calls.methods[*at]));
        }
    }
    page.family("grpc_server_handled_total", "counter");
    for (labels, at) in &methods {
        for code in Code::ALL {
            let count = calls.methods[*at].handled[code as usize];
            let labels = format!("grpc_code=\"{}\",{labels}", code.name());
            page.sample("grpc_server_handled_total", &labels, count);
        }
    }
    let timed = methods.iter().filter_map(|(labels, at)| {
        calls.methods[*at].took.as_ref().map(|histogram| (labels, histogram))
    });
    for (at, (labels, histogram)) in timed.enumerate() {
        if at == 0 {
            page.family("grpc_server_handling_seconds", "histogram");
        }
        page.buckets("grpc_server_handling_seconds", labels, TIME, histogram);
    }
}

fn labels_of(method: Method) -> String {
    let (kind, service, name) = (method.kind().label(), method.service(), method.name());
    format!("grpc_method=\"{name}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"")
}

/// A label's value: what a client sent may hold quotes.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
