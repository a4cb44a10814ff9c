//! Owns the making of replies: a plan and the rows that it asked for become protobuf bytes.
//! Reads nothing and decides nothing. Invariant: rows are consumed in the order in which
//! [`specs`] listed the reads of the same plan, so plan and rows always match.

use bytes::{Bytes, BytesMut};
use prost::Message;
use state::{DeletePlan, OpPlan, PutPlan, TxnPlan};
use tree::{EntryRef, ValueRef};
use wire::encode::{self, Header};
use wire::{etcdserverpb as pb, mvccpb};

use super::merge::Row;
use super::range::{Columns, RangeOutput, RangeSpec};

/// A reply whose reads are not done yet.
#[derive(Debug)]
pub enum ReplyPlan {
    /// A range of its own.
    Range {
        /// Revision of the store when the read began.
        revision: i64,
    },
    /// A put.
    Put(PutPlan),
    /// A delete.
    DeleteRange(DeletePlan),
    /// A transaction.
    Txn(TxnPlan),
}

/// The reads of a plan, in order of execution.
pub fn specs(plan: &ReplyPlan) -> Vec<RangeSpec> {
    let mut specs = Vec::new();
    match plan {
        ReplyPlan::Range { .. } => {}
        ReplyPlan::Put(put) => put_specs(put, &mut specs),
        ReplyPlan::DeleteRange(delete) => delete_specs(delete, &mut specs),
        ReplyPlan::Txn(txn) => txn_specs(txn, &mut specs),
    }
    specs
}

fn put_specs(plan: &PutPlan, specs: &mut Vec<RangeSpec>) {
    if let Some(prev) = &plan.prev {
        specs.push(RangeSpec::plain(state::Span::Key(prev.key.clone()), prev.at));
    }
}

fn delete_specs(plan: &DeletePlan, specs: &mut Vec<RangeSpec>) {
    if let Some(prev) = &plan.prev {
        specs.push(RangeSpec::plain(prev.span.clone(), prev.at));
    }
}

fn txn_specs(plan: &TxnPlan, specs: &mut Vec<RangeSpec>) {
    for op in &plan.ops {
        match op {
            OpPlan::Range(range) => specs.push(RangeSpec::of_request(&range.request, range.at)),
            OpPlan::Put(put) => put_specs(put, specs),
            OpPlan::DeleteRange(delete) => delete_specs(delete, specs),
            OpPlan::Txn(txn) => txn_specs(txn, specs),
        }
    }
}

/// The reply's bytes. Its revision is the plan's, whatever was applied since.
pub fn encode(plan: ReplyPlan, header: Header, outputs: Vec<RangeOutput>) -> Bytes {
    let mut outputs = outputs.into_iter();
    match plan {
        ReplyPlan::Range { revision } => {
            let header = Header { revision, ..header };
            encode_range(header, &outputs.next().expect("a range has one output"))
        }
        ReplyPlan::Put(put) => {
            let header = Header { revision: put.revision, ..header };
            encode_put(header, prev_row(&put, &mut outputs).as_ref())
        }
        ReplyPlan::DeleteRange(delete) => {
            let header = Header { revision: delete.revision, ..header };
            let response = pb::DeleteRangeResponse {
                header: Some(full_header(header)),
                ..delete_response(&delete, &mut outputs)
            };
            Bytes::from(response.encode_to_vec())
        }
        ReplyPlan::Txn(txn) => {
            let header = Header { revision: txn.revision, ..header };
            let response = pb::TxnResponse {
                header: Some(full_header(header)),
                ..txn_response(txn, &mut outputs)
            };
            Bytes::from(response.encode_to_vec())
        }
    }
}

/// A put's reply, on the hot path.
pub fn encode_put(header: Header, prev: Option<&Row>) -> Bytes {
    let response = encode::PutResponse { header, prev_kv: prev.map(pair) };
    let mut bytes = BytesMut::with_capacity(response.len());
    response.put(&mut bytes);
    bytes.freeze()
}

/// The reply of a range over one key, on the hot path.
pub fn encode_one(
    header: Header,
    key: &[u8],
    entry: Option<EntryRef<'_>>,
    columns: Columns,
) -> Bytes {
    let tail = encode::RangeTail { more: false, count: i64::from(entry.is_some()) };
    let row = entry.filter(|_| columns != Columns::Count).map(|entry| encode::KeyValue {
        key,
        create: entry.create,
        modified: entry.modified.main,
        version: entry.version,
        value: match (columns, entry.value) {
            (Columns::Keys | Columns::Count, _) => &[],
            (Columns::All, ValueRef::Inline(bytes)) => bytes,
            (Columns::All, ValueRef::Waiting(bytes)) => bytes,
            (Columns::All, ValueRef::Extent(_)) => unreachable!("only what is at hand is seen"),
        },
        lease: entry.lease,
    });
    let row_len = row.map_or(0, |row| row.field_len());
    let mut bytes = BytesMut::with_capacity(header.field_len() + row_len + tail.len());
    header.put_field(&mut bytes);
    if let Some(row) = row {
        row.put_field(&mut bytes, encode::RANGE_KVS_FIELD);
    }
    tail.put(&mut bytes);
    bytes.freeze()
}

fn encode_range(header: Header, output: &RangeOutput) -> Bytes {
    let tail = encode::RangeTail { more: output.more, count: output.count };
    let rows_len: usize = output.rows.iter().map(|row| pair(row).field_len()).sum();
    let mut bytes = BytesMut::with_capacity(header.field_len() + rows_len + tail.len());
    header.put_field(&mut bytes);
    output.rows.iter().for_each(|row| pair(row).put_field(&mut bytes, encode::RANGE_KVS_FIELD));
    tail.put(&mut bytes);
    bytes.freeze()
}

/// A row as replies write it.
pub fn pair(row: &Row) -> encode::KeyValue<'_> {
    encode::KeyValue {
        key: &row.key,
        create: row.version.create,
        modified: row.version.modified.main,
        version: row.version.version,
        value: &row.value,
        lease: row.version.lease,
    }
}

/// The header of a reply of its own.
pub fn full_header(header: Header) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: header.cluster_id,
        member_id: header.member_id,
        revision: header.revision,
        raft_term: header.raft_term,
    }
}

/// Replies inside a transaction tell the revision and nothing else.
fn inner_header(revision: i64) -> pb::ResponseHeader {
    pb::ResponseHeader { revision, ..pb::ResponseHeader::default() }
}

/// A row as a message.
pub fn message_of(row: Row) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: row.key,
        create_revision: row.version.create,
        mod_revision: row.version.modified.main,
        version: row.version.version,
        value: row.value,
        lease: row.version.lease,
    }
}

fn prev_row(plan: &PutPlan, outputs: &mut impl Iterator<Item = RangeOutput>) -> Option<Row> {
    plan.prev.as_ref()?;
    outputs.next().expect("a previous pair was read").rows.pop()
}

fn delete_response(
    plan: &DeletePlan,
    outputs: &mut impl Iterator<Item = RangeOutput>,
) -> pb::DeleteRangeResponse {
    let prev_kvs = match plan.prev {
        None => Vec::new(),
        Some(_) => {
            let output = outputs.next().expect("the previous pairs were read");
            output.rows.into_iter().map(message_of).collect()
        }
    };
    pb::DeleteRangeResponse { header: None, deleted: plan.deleted, prev_kvs }
}

fn txn_response(plan: TxnPlan, outputs: &mut impl Iterator<Item = RangeOutput>) -> pb::TxnResponse {
    use pb::response_op::Response;
    let mut responses = Vec::with_capacity(plan.ops.len());
    for op in plan.ops {
        let response = match op {
            OpPlan::Range(range) => {
                let output = outputs.next().expect("a range was read");
                Response::ResponseRange(pb::RangeResponse {
                    header: Some(inner_header(range.revision)),
                    kvs: output.rows.into_iter().map(message_of).collect(),
                    more: output.more,
                    count: output.count,
                })
            }
            OpPlan::Put(put) => Response::ResponsePut(pb::PutResponse {
                header: Some(inner_header(put.revision)),
                prev_kv: prev_row(&put, outputs).map(message_of),
            }),
            OpPlan::DeleteRange(delete) => Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                header: Some(inner_header(delete.revision)),
                ..delete_response(&delete, outputs)
            }),
            OpPlan::Txn(txn) => Response::ResponseTxn(pb::TxnResponse {
                header: Some(pb::ResponseHeader::default()),
                ..txn_response(txn, outputs)
            }),
        };
        responses.push(pb::ResponseOp { response: Some(response) });
    }
    pb::TxnResponse { header: None, succeeded: plan.succeeded, responses }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_tells_the_revision_it_was_read_at_and_not_that_of_its_reply() {
        let now = Header { cluster_id: 1, member_id: 2, revision: 9, raft_term: 3 };
        let plan = ReplyPlan::Range { revision: 7 };
        let message = encode(plan, now, vec![RangeOutput::default()]);
        let reply = pb::RangeResponse::decode(message).expect("it was encoded just now");
        assert_eq!(reply.header.expect("every reply has one").revision, 7);
    }
}
