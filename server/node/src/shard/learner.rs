//! Owns what a member that does not vote yet refuses its clients, by etcd's rule: it may be far
//! behind, so it answers what it knows of itself and reads that may be old.

use bytes::Bytes;
use state::MemberRole;
use wire::{Method, etcdserverpb as pb};

use super::Shard;
use super::kv::decode;

impl Shard {
    /// Whether this is refused here and now.
    pub(super) fn refuses_as_learner(&self, method: Method, message: &Bytes) -> bool {
        self.facts.role == MemberRole::Learner && !is_for_learners(method, message)
    }
}

fn is_for_learners(method: Method, message: &Bytes) -> bool {
    let may_be_old = || {
        let request = decode::<pb::RangeRequest>(message.clone());
        request.is_ok_and(|request| request.serializable)
    };
    matches!(method, Method::Status | Method::Snapshot) || (method == Method::Range && may_be_old())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_learner_answers_status_snapshots_and_reads_that_may_be_old() {
        let range = |serializable| {
            let request = pb::RangeRequest { serializable, ..Default::default() };
            Bytes::from(request.encode_to_vec())
        };
        for method in Method::ALL.iter().copied() {
            let mine = matches!(method, Method::Status | Method::Snapshot);
            assert_eq!(is_for_learners(method, &range(false)), mine, "{method:?}");
        }
        assert!(is_for_learners(Method::Range, &range(true)));
        assert!(!is_for_learners(Method::RangeStream, &range(true)));
        assert!(!is_for_learners(Method::Range, &Bytes::from_static(b"\xff")));
    }
}
