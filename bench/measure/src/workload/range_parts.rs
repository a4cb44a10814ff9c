//! Owns the workload of one range that comes in parts: page by page, or as a stream.
//! Invariant: the parts together are judged as one answer, at one revision.

use bytes::Bytes;
use wire::Method;
use wire::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};

use crate::op::{Op, Seen, Wrong, decode, revision};
use crate::workload::Consistency;
use crate::workload::range::{RangeOptions, check, check_count, check_rows};

/// How the parts come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Each is asked for: so many rows, from behind the last one's.
    Pages {
        /// Rows of a page, at least 1.
        rows: i64,
    },
    /// One request, many answers: rows alone, and the rest of the answer with the last.
    Stream,
}

/// One range, asked again and again.
#[derive(Debug)]
pub struct RangeParts {
    options: RangeOptions,
    kind: PartKind,
    /// What is asked for now.
    request: RangeRequest,
    taken: Taken,
    seen: Seen,
}

/// What has come of one range.
#[derive(Debug, Default)]
struct Taken {
    rows: i64,
    last: Bytes,
    /// Of the first page, or of the end of the stream.
    revision: i64,
    count: i64,
    is_whole: bool,
}

impl RangeParts {
    /// One client's reads.
    pub fn new(options: RangeOptions, kind: PartKind) -> RangeParts {
        let request = options.request();
        RangeParts { options, kind, request, taken: Taken::default(), seen: Seen::default() }
    }

    /// Begins to read the range, from its first row.
    pub fn begin(&mut self) {
        self.taken = Taken::default();
        self.request = self.options.request();
    }

    /// The next request; None when the range is whole.
    pub fn ask(&mut self) -> Option<Op> {
        if self.taken.is_whole {
            return None;
        }
        let method = match self.kind {
            PartKind::Stream => Method::RangeStream,
            PartKind::Pages { rows } => {
                self.request.revision = self.taken.revision;
                self.request.limit = match self.options.limit {
                    0 => rows,
                    limit => rows.min(limit - self.taken.rows),
                };
                Method::Range
            }
        };
        Some(Op::new(0, method, &self.request))
    }

    /// Judges one message of an answer.
    pub fn part(&mut self, reply: Bytes) -> Result<(), Wrong> {
        match self.kind {
            PartKind::Pages { .. } => self.page(decode(reply)?),
            PartKind::Stream => {
                let reply: RangeStreamResponse = decode(reply)?;
                self.piece(reply.range_response.unwrap_or_default())
            }
        }
    }

    /// Judges the end of an answer: a stream tells its count before it ends.
    pub fn ended(&mut self) -> Result<(), Wrong> {
        match self.kind {
            PartKind::Stream | PartKind::Pages { .. } if self.taken.is_whole => {
                self.options.check_expected(self.taken.count)
            }
            PartKind::Stream => Err(Wrong::new("a stream that ends without its count")),
            PartKind::Pages { .. } => Ok(()),
        }
    }

    fn page(&mut self, reply: RangeResponse) -> Result<(), Wrong> {
        check(&self.request, &reply)?;
        if self.taken.revision == 0 {
            self.taken.revision = self.judge_revision(&reply)?;
            self.taken.count = reply.count;
        }
        self.taken.rows += reply.kvs.len() as i64;
        if self.taken.count < self.taken.rows {
            return Err(Wrong::new("pages with more rows than the first one's count"));
        }
        self.taken.is_whole = !reply.more || self.taken.rows == self.options.limit;
        if !self.taken.is_whole {
            let last = reply.kvs.last().ok_or_else(|| Wrong::new("a page without rows"))?;
            self.request.key = Bytes::from([&last.key[..], &[0]].concat());
        }
        Ok(())
    }

    fn piece(&mut self, reply: RangeResponse) -> Result<(), Wrong> {
        if self.taken.is_whole {
            return Err(Wrong::new("a stream that goes on behind its count"));
        }
        check_rows(&self.request, &reply.kvs)?;
        if let Some(first) = reply.kvs.first()
            && 0 < self.taken.rows
            && first.key <= self.taken.last
        {
            return Err(Wrong::new("rows out of order"));
        }
        self.taken.rows += reply.kvs.len() as i64;
        if let Some(last) = reply.kvs.last() {
            self.taken.last = last.key.clone();
        }
        if reply.header.is_some() {
            check_count(&self.request, self.taken.rows, &reply)?;
            self.taken.revision = self.judge_revision(&reply)?;
            (self.taken.count, self.taken.is_whole) = (reply.count, true);
        }
        Ok(())
    }

    fn judge_revision(&mut self, reply: &RangeResponse) -> Result<i64, Wrong> {
        match self.options.consistency {
            Consistency::Linearizable => self.seen.read(reply.header.as_ref()),
            Consistency::Serializable => revision(reply.header.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::{bytes, header, message};
    use wire::mvccpb::KeyValue;

    fn parts(kind: PartKind, limit: i64) -> RangeParts {
        let options = RangeOptions {
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"b"),
            limit,
            consistency: Consistency::Linearizable,
            count_only: false,
            keys_only: false,
            expect_count: Some(3),
        };
        let mut parts = RangeParts::new(options, kind);
        parts.begin();
        parts
    }

    fn answer(revision: i64, keys: &[&'static str], count: i64, more: bool) -> RangeResponse {
        let kv = |key: &&'static str| KeyValue {
            key: Bytes::from_static(key.as_bytes()),
            ..KeyValue::default()
        };
        let header = if revision == 0 { None } else { header(revision) };
        RangeResponse { header, kvs: keys.iter().map(kv).collect(), more, count }
    }

    fn piece(reply: RangeResponse) -> Bytes {
        bytes(&RangeStreamResponse { range_response: Some(reply) })
    }

    #[test]
    fn pages_follow_one_another_at_the_revision_of_the_first() {
        let mut parts = parts(PartKind::Pages { rows: 2 }, 0);
        let request: RangeRequest = message(&parts.ask().unwrap());
        assert_eq!((&request.key[..], request.limit, request.revision), (&b"a"[..], 2, 0));
        parts.part(bytes(&answer(9, &["a1", "a2"], 3, true))).unwrap();
        assert_eq!(parts.ended(), Ok(()));
        let request: RangeRequest = message(&parts.ask().unwrap());
        assert_eq!((&request.key[..], request.limit, request.revision), (&b"a2\0"[..], 2, 9));
        parts.part(bytes(&answer(11, &["a3"], 1, false))).unwrap();
        assert_eq!(parts.ended(), Ok(()));
        assert!(parts.ask().is_none());
        parts.begin();
        let request: RangeRequest = message(&parts.ask().unwrap());
        assert_eq!((&request.key[..], request.revision), (&b"a"[..], 0));
    }

    #[test]
    fn pages_stop_at_the_limit() {
        let mut parts = parts(PartKind::Pages { rows: 1 }, 2);
        parts.ask();
        parts.part(bytes(&answer(9, &["a1"], 3, true))).unwrap();
        let request: RangeRequest = message(&parts.ask().unwrap());
        assert_eq!(request.limit, 1);
        parts.part(bytes(&answer(9, &["a2"], 2, true))).unwrap();
        assert!(parts.ask().is_none());
    }

    #[test]
    fn a_stream_is_whole_with_its_count() {
        let mut parts = parts(PartKind::Stream, 0);
        assert_eq!(parts.ask().unwrap().method, Method::RangeStream);
        parts.part(piece(answer(0, &["a1", "a2"], 0, false))).unwrap();
        assert!(parts.ended().is_err());
        parts.part(piece(answer(9, &["a3"], 3, false))).unwrap();
        assert_eq!(parts.ended(), Ok(()));
        assert!(parts.ask().is_none());
        assert!(parts.part(piece(answer(0, &["a4"], 0, false))).is_err());
    }

    #[test]
    fn a_stream_that_miscounts_or_goes_back_is_wrong() {
        let mut back = parts(PartKind::Stream, 0);
        back.part(piece(answer(0, &["a1", "a2"], 0, false))).unwrap();
        assert!(back.part(piece(answer(0, &["a2"], 0, false))).is_err());
        let mut short = parts(PartKind::Stream, 0);
        assert!(short.part(piece(answer(9, &["a1", "a2"], 3, false))).is_err());
        let mut long = parts(PartKind::Stream, 1);
        assert!(long.part(piece(answer(9, &["a1", "a2"], 2, false))).is_err());
        let mut other = parts(PartKind::Stream, 0);
        other.part(piece(answer(9, &["a1", "a2"], 2, false))).unwrap();
        assert!(other.ended().is_err(), "3 were expected");
    }
}
