//! Owns a dumb store of one client's objects, which the workload must agree with, and which shows
//! that a store that is wrong is found out.

use std::collections::BTreeMap;

use prost::Message;
use wire::etcdserverpb::ResponseHeader;
use wire::mvccpb::KeyValue;

use super::*;

#[derive(Default)]
struct Store {
    revision: i64,
    rows: BTreeMap<Bytes, i64>,
    past: BTreeMap<i64, BTreeMap<Bytes, i64>>,
}

impl Store {
    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision: self.revision, ..ResponseHeader::default() })
    }

    fn answer(&mut self, op: &Op) -> Bytes {
        let body = op.frame.slice(wire::grpc::PREFIX_BYTES..);
        match op.method {
            Method::Txn => self.txn(&TxnRequest::decode(body).unwrap()),
            Method::Range => self.range(&RangeRequest::decode(body).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn txn(&mut self, request: &TxnRequest) -> Bytes {
        let guard = &request.compare[0];
        let at = self.rows.get(&guard.key).copied().unwrap_or_default();
        let succeeded = guard.target_union == Some(TargetUnion::ModRevision(at));
        if succeeded {
            self.revision += 1;
            match &request.success[0].request {
                Some(Request::RequestPut(put)) => {
                    self.rows.insert(put.key.clone(), self.revision);
                }
                Some(Request::RequestDeleteRange(delete)) => {
                    self.rows.remove(&delete.key);
                }
                other => panic!("{other:?}"),
            }
            self.past.insert(self.revision, self.rows.clone());
        }
        let reply = TxnResponse { header: self.header(), succeeded, responses: vec![] };
        Bytes::from(reply.encode_to_vec())
    }

    fn range(&self, request: &RangeRequest) -> Bytes {
        let rows = match request.revision {
            0 => &self.rows,
            revision => &self.past[&revision],
        };
        let end = match request.range_end.is_empty() {
            true => [&request.key[..], &[0]].concat(),
            false => request.range_end.to_vec(),
        };
        let all: Vec<KeyValue> = rows
            .range(request.key.clone()..Bytes::from(end))
            .map(|(key, at)| KeyValue {
                key: key.clone(),
                mod_revision: *at,
                ..KeyValue::default()
            })
            .collect();
        let count = all.len() as i64;
        let rows = if request.limit == 0 { count } else { request.limit.min(count) };
        let kvs = all[..rows as usize].to_vec();
        let reply = RangeResponse { header: self.header(), kvs, more: rows < count, count };
        Bytes::from(reply.encode_to_vec())
    }
}

fn churn() -> Churn {
    let values = Values::new(100, 1);
    Churn::new(ChurnOptions { client: 3, objects: 40, page_rows: 7, values }, 11)
}

#[test]
fn a_right_store_is_never_found_wrong_and_every_kind_is_asked() {
    let (mut churn, mut store) = (churn(), Store { revision: 1, ..Store::default() });
    let mut kinds = [0; 4];
    for turn in 0..20_000 {
        let op = churn.next(turn);
        kinds[op.series] += 1;
        let reply = store.answer(&op);
        if turn % 97 == 0 {
            // The answer was lost: the client must find out what became of it.
            churn.failed();
            continue;
        }
        assert_eq!(churn.answered(reply), Ok(()), "turn {turn}");
    }
    assert!(kinds.iter().all(|count| 500 < *count), "{kinds:?}");
}

#[test]
fn a_store_that_loses_a_write_is_found_wrong() {
    let (mut churn, mut store) = (churn(), Store { revision: 1, ..Store::default() });
    let mut wrong = 0;
    for turn in 0..5000 {
        let op = churn.next(turn);
        let reply = store.answer(&op);
        if turn == 2500 {
            store.rows.pop_first();
        }
        wrong += u64::from(churn.answered(reply).is_err());
    }
    assert!(wrong > 0);
}
