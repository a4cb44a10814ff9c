//! Owns the samples about streams between members, in etcd's names.
//! Invariant: every peer of the list has its samples from the start, also one never reached.

use node::figures::Histogram;

use super::page::{Page, TIME};

/// What passed between this member and one peer.
#[derive(Clone, Debug)]
pub struct PeerFigures {
    /// Who.
    pub id: u64,
    /// Whether any stream to or from it is up.
    pub is_active: bool,
    /// How often it became inactive.
    pub disconnections: u64,
    /// How often a stream from it ended in bytes that nobody could read.
    pub unread: u64,
    /// Round trips; none before the first was asked for.
    pub trips: Option<Histogram>,
    /// What the transport counted.
    pub counts: sock::peer::PeerCounts,
}

/// Writes them.
pub fn write(page: &mut Page, local: u64, peers: &[PeerFigures]) {
    type Pick = fn(&PeerFigures) -> u64;
    let pairs: [(&str, &str, Pick); 3] = [
        ("etcd_network_known_peers", "gauge", |_| 1),
        ("etcd_network_active_peers", "gauge", |peer| u64::from(peer.is_active)),
        ("etcd_network_disconnected_peers_total", "counter", |peer| peer.disconnections),
    ];
    let singles: [(&str, &str, Pick); 4] = [
        ("etcd_network_peer_sent_bytes_total", "To", |peer| peer.counts.sent_bytes),
        ("etcd_network_peer_received_bytes_total", "From", |peer| peer.counts.received_bytes),
        ("etcd_network_peer_received_failures_total", "From", |peer| peer.unread),
        ("etcd_network_peer_sent_failures_total", "To", |peer| peer.counts.lost),
    ];
    // A family without samples is not shown, as in etcd.
    if peers.is_empty() {
        return;
    }
    for (name, kind, pick) in pairs {
        page.family(name, kind);
        for peer in peers {
            let labels = format!("Local=\"{local:x}\",Remote=\"{:x}\"", peer.id);
            page.sample(name, &labels, pick(peer));
        }
    }
    for (name, label, pick) in singles {
        page.family(name, "counter");
        for peer in peers {
            page.sample(name, &format!("{label}=\"{:x}\"", peer.id), pick(peer));
        }
    }
    const TRIPS: &str = "etcd_network_peer_round_trip_time_seconds";
    let timed = peers.iter().filter_map(|peer| Some((peer.id, peer.trips.as_ref()?)));
    for (at, (id, trips)) in timed.enumerate() {
        if at == 0 {
            page.family(TRIPS, "histogram");
        }
        page.buckets(TRIPS, &format!("To=\"{id:x}\""), TIME, trips);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_as_etcd_names_them() {
        let counts = sock::peer::PeerCounts { sent_bytes: 5, received_bytes: 6, lost: 7 };
        let mut trips = Histogram::new(&crate::probe::TRIP_NS);
        trips.observe(150_000);
        let peer = PeerFigures {
            id: 0xb1,
            is_active: true,
            disconnections: 2,
            unread: 3,
            trips: Some(trips),
            counts,
        };
        let mut page = Page::default();
        write(&mut page, 0xa0, &[peer]);
        let text = page.into_text();
        for line in [
            "etcd_network_active_peers{Local=\"a0\",Remote=\"b1\"} 1\n",
            "etcd_network_disconnected_peers_total{Local=\"a0\",Remote=\"b1\"} 2\n",
            "etcd_network_peer_sent_bytes_total{To=\"b1\"} 5\n",
            "etcd_network_peer_received_bytes_total{From=\"b1\"} 6\n",
            "etcd_network_peer_sent_failures_total{To=\"b1\"} 7\n",
            "etcd_network_peer_received_failures_total{From=\"b1\"} 3\n",
            "etcd_network_peer_round_trip_time_seconds_bucket{To=\"b1\",le=\"0.0001\"} 0\n",
            "etcd_network_peer_round_trip_time_seconds_bucket{To=\"b1\",le=\"0.0002\"} 1\n",
            "etcd_network_peer_round_trip_time_seconds_bucket{To=\"b1\",le=\"3.2768\"} 1\n",
            "etcd_network_peer_round_trip_time_seconds_count{To=\"b1\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let mut alone = Page::default();
        write(&mut alone, 0xa0, &[]);
        assert_eq!(alone.into_text(), "");
    }
}
