//! Owns the metrics page: etcd's names where dashboards use them, in Prometheus' text form.
//! Never keeps a figure of its own. Invariant: a name has one type and is written once.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sock::{HttpReply, HttpResponse};
use wire::{Method, etcdserverpb as pb};

use crate::config::{CLUSTER_VERSION, VERSION};
use crate::core::Core;
use crate::pages;

/// Answers `/metrics`.
pub fn serve(core: &Rc<Core>, reply: HttpReply) {
    let next = core.clone();
    pages::call(core, Method::Status, Bytes::new(), move |result| {
        let status: pb::StatusResponse =
            result.ok().and_then(|bytes| prost::Message::decode(bytes).ok()).unwrap_or_default();
        let body = page(&next, &status);
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, kind);
        reply.respond(HttpResponse { status: StatusCode::OK, headers, body: Bytes::from(body) });
    });
}

fn page(core: &Core, status: &pb::StatusResponse) -> String {
    let mut page = Page::default();
    let id = status.header.as_ref().map_or(0, |header| header.member_id);
    let revision = status.header.as_ref().map_or(0, |header| header.revision);
    let leads = status.leader == id && id != 0;
    page.gauge("etcd_server_has_leader", "", u64::from(status.leader != 0));
    page.gauge("etcd_server_is_leader", "", u64::from(leads));
    page.gauge("etcd_server_is_learner", "", 0);
    page.gauge("etcd_server_id", &format!("server_id=\"{id:x}\""), 1);
    page.gauge("etcd_server_version", &format!("server_version=\"{VERSION}\""), 1);
    page.gauge("etcd_cluster_version", &format!("cluster_version=\"{CLUSTER_VERSION}\""), 1);
    page.gauge("etcd_server_proposals_committed_total", "", status.raft_index);
    page.gauge("etcd_server_proposals_applied_total", "", status.raft_applied_index);
    let pending = status.raft_index.saturating_sub(status.raft_applied_index);
    page.gauge("etcd_server_proposals_pending", "", pending);
    let quota = u64::try_from(status.db_size_quota).unwrap_or(0);
    page.gauge("etcd_server_quota_backend_bytes", "", quota);
    let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
    page.gauge("etcd_mvcc_db_total_size_in_bytes", "", bytes(status.db_size));
    page.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "", bytes(status.db_size_in_use));
    page.gauge("etcd_debugging_mvcc_current_revision", "", bytes(revision));
    for (name, value) in core.hub().stats().each() {
        page.counter(&format!("ringleader_network_{name}_total"), "", value);
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn gauge(&mut self, name: &str, labels: &str, value: u64) {
        self.write(name, "gauge", labels, value);
    }

    fn counter(&mut self, name: &str, labels: &str, value: u64) {
        self.write(name, "counter", labels, value);
    }

    fn write(&mut self, name: &str, kind: &str, labels: &str, value: u64) {
        let labels = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        self.text.push_str(&format!("# TYPE {name} {kind}\n{name}{labels} {value}\n"));
    }
}
