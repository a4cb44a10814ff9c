//! Owns the answering of the leader's questions about values: a barrier in the log waits for them.
//! Invariant: a question over a span is worked off page by page and stops at the first value that
//! fails its test, so no span needs to be in memory at once.

use base::Rev;
use bytes::Bytes;
use state::{Span, ValueAnswer, ValueAsk, ValueNeed};

use super::range::{RangeOutput, RangeSpec};
use super::reads::Purpose;
use super::{Shard, ShardEffect};
use crate::message::ToLeader;

/// Rows looked at in one step of a test over a span.
const PAGE_ROWS: usize = 1000;

/// One fetch under way.
#[derive(Debug)]
pub struct FetchJob {
    fetch: u64,
    needs: Vec<ValueNeed>,
    answers: Vec<ValueAnswer>,
    // Where the test of the current need goes on.
    from: Option<Bytes>,
}

impl Shard {
    /// The leader needs values.
    pub(super) fn fetch(&mut self, fetch: u64, needs: Vec<ValueNeed>) {
        self.fetch_next(FetchJob { fetch, needs, answers: Vec::new(), from: None });
    }

    fn fetch_next(&mut self, job: FetchJob) {
        let Some(need) = job.needs.get(job.answers.len()) else {
            let message = ToLeader::Values { fetch: job.fetch, answers: job.answers };
            return self.out.push_back(ShardEffect::ToLeader(message));
        };
        let spec = match &need.ask {
            ValueAsk::Value => RangeSpec::plain(need.span.clone(), need.at),
            ValueAsk::Every { .. } => page(&need.span, need.at, job.from.as_ref()),
        };
        self.start_reads(Purpose::Fetch(job), vec![spec]);
    }

    /// Rows of the current need have arrived.
    pub(super) fn fetched(&mut self, mut job: FetchJob, mut outputs: Vec<RangeOutput>) {
        let output = outputs.pop().expect("one range was read");
        let need = &job.needs[job.answers.len()];
        let answer = match &need.ask {
            ValueAsk::Value => {
                let row = output.rows.into_iter().next();
                Some(ValueAnswer::Value(row.expect("the key lives at that point").value))
            }
            ValueAsk::Every { test, than } => {
                let holds = output.rows.iter().all(|row| test.holds(&row.value, than));
                match output.rows.last() {
                    Some(last) if holds && output.more => {
                        job.from = Some(after(&last.key));
                        None
                    }
                    Some(_) | None => Some(ValueAnswer::Holds(holds)),
                }
            }
        };
        if let Some(answer) = answer {
            job.answers.push(answer);
            job.from = None;
        }
        self.fetch_next(job);
    }
}

/// The next page of a span, in key order.
pub(super) fn page(span: &Span, at: Rev, from: Option<&Bytes>) -> RangeSpec {
    let span = match from {
        Some(from) => starting_at(span, from),
        None => span.clone(),
    };
    RangeSpec { limit: PAGE_ROWS, ..RangeSpec::plain(span, at) }
}

/// The rest of a span from a key on.
pub(super) fn starting_at(span: &Span, from: &Bytes) -> Span {
    match span {
        Span::Key(_) => panic!("a single key has no second page"),
        Span::From(_) => Span::From(from.clone()),
        Span::Between { end, .. } => Span::Between { start: from.clone(), end: end.clone() },
    }
}

/// The smallest key above this one.
pub(super) fn after(key: &Bytes) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}
