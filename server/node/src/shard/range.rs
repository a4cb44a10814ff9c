//! Owns what a range read gives: the request in our words, the rows of a reply that is built whole,
//! and their order. Never asks itself; the shard carries its asks. Invariant: what is kept is what
//! the reply needs, not what was read.

use base::{Rev, SliceId};
use bytes::Bytes;
use slice::ReadRequest;
use state::Span;
use wire::etcdserverpb as pb;

use super::merge::Row;
use super::pass::{Pass, Totals};

/// What a range read should give.
#[derive(Clone, Debug)]
pub struct RangeSpec {
    /// Which keys.
    pub span: Span,
    /// At which point.
    pub at: Rev,
    /// Most rows; 0 for all.
    pub limit: usize,
    /// What of each row.
    pub columns: Columns,
    /// Order of the rows; `None` is by key, ascending.
    pub sort: Option<Sort>,
    /// Which rows pass.
    pub filter: Filter,
}

/// What of each row is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Key, metadata and value.
    All,
    /// Key and metadata.
    Keys,
    /// Only how many there are.
    Count,
}

/// A sorted reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub target: pb::range_request::SortTarget,
    /// Largest first.
    pub descending: bool,
    /// Whether the request named the order.
    pub order: Order,
}

/// Whether a sorted request named its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ascending or descending.
    Named,
    /// Order NONE with a target other than KEY: ascending.
    Implied,
}

/// Revision bounds of a row, inclusive; 0 is no bound (etcd's min/max filters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Filter {
    /// Bounds of the mod revision.
    pub modified: (i64, i64),
    /// Bounds of the create revision.
    pub created: (i64, i64),
}

impl Columns {
    /// What a request wants.
    pub fn of_request(request: &pb::RangeRequest) -> Columns {
        match (request.count_only, request.keys_only) {
            (true, _) => Columns::Count,
            (false, true) => Columns::Keys,
            (false, false) => Columns::All,
        }
    }
}

impl Filter {
    /// The bounds of a request.
    pub fn of_request(request: &pb::RangeRequest) -> Filter {
        Filter {
            modified: (request.min_mod_revision, request.max_mod_revision),
            created: (request.min_create_revision, request.max_create_revision),
        }
    }

    /// Does every row pass?
    pub fn is_open(&self) -> bool {
        self.modified == (0, 0) && self.created == (0, 0)
    }

    /// Is this row wanted?
    pub fn passes(&self, row: &Row) -> bool {
        let within = |value: i64, (min, max): (i64, i64)| {
            (min == 0 || value >= min) && (max == 0 || value <= max)
        };
        within(row.version.modified.main, self.modified) && within(row.version.create, self.created)
    }
}

impl RangeSpec {
    /// All of these keys at this point, as previous values are read.
    pub fn plain(span: Span, at: Rev) -> RangeSpec {
        RangeSpec {
            span,
            at,
            limit: 0,
            columns: Columns::All,
            sort: None,
            filter: Filter::default(),
        }
    }

    /// From a checked request.
    pub fn of_request(request: &pb::RangeRequest, at: Rev) -> RangeSpec {
        RangeSpec {
            span: Span::of(&request.key, &request.range_end),
            at,
            limit: usize::try_from(request.limit).unwrap_or(0),
            columns: Columns::of_request(request),
            sort: sort_of(request),
            filter: Filter::of_request(request),
        }
    }

    /// Rows read before an early cut: etcd reads one more than the limit before it sorts.
    pub fn fetch_max(&self) -> usize {
        self.limit + usize::from(self.sort.is_some())
    }

    /// Must values be read though the reply may leave them out?
    pub fn sorts_by_value(&self) -> bool {
        let value = pb::range_request::SortTarget::Value;
        self.sort.is_some_and(|sort| sort.target == value)
    }

    /// Can rows be cut off while reading? They can if they come in the order of the reply; and, as
    /// etcd has it, also if they are sorted without an order being named: then the limit acts
    /// first.
    pub fn cuts_early(&self) -> bool {
        let named = self.sort.is_some_and(|sort| sort.order == Order::Named);
        self.limit > 0 && !named && self.filter.is_open()
    }
}

/// Order NONE with a target other than KEY sorts ascending; KEY ascending is how rows come.
fn sort_of(request: &pb::RangeRequest) -> Option<Sort> {
    use pb::range_request::{SortOrder, SortTarget};
    let target = request.sort_target();
    let descending = request.sort_order() == SortOrder::Descend;
    let order = match request.sort_order() {
        SortOrder::None => Order::Implied,
        SortOrder::Ascend | SortOrder::Descend => Order::Named,
    };
    (target != SortTarget::Key || descending).then_some(Sort { target, descending, order })
}

/// The reply's content.
#[derive(Debug, Default)]
pub struct RangeOutput {
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// Keys in the range before limit and filters.
    pub count: i64,
    /// The limit cut rows off.
    pub more: bool,
}

/// One range read under way, its rows kept until all are there.
#[derive(Debug)]
pub struct RangeJob {
    pass: Pass,
    rows: Vec<Row>,
    bytes: usize,
}

impl RangeJob {
    /// Begins; `slices` are those that may hold keys of the span.
    pub fn new(spec: RangeSpec, slices: &[SliceId]) -> RangeJob {
        RangeJob { pass: Pass::new(spec, slices), rows: Vec::new(), bytes: 0 }
    }

    /// What is read.
    pub fn spec(&self) -> &RangeSpec {
        self.pass.spec()
    }

    /// Bytes of the rows that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What should be asked now. Each question is given once.
    pub fn asks(&mut self) -> Vec<(SliceId, ReadRequest)> {
        self.pass.asks()
    }

    /// Takes a slice's count.
    pub fn counted(&mut self, count: u64) {
        self.pass.counted(count);
    }

    /// Takes a slice's rows; `resume` tells where it goes on.
    pub fn supply(&mut self, slice: SliceId, rows: Vec<Row>, resume: Option<Bytes>) {
        self.pass.supply(slice, rows, resume);
        while let Some(row) = self.pass.pop() {
            self.bytes += row_bytes(&row);
            self.rows.push(row);
            self.prune();
        }
    }

    /// A sorted reply with a limit needs no more rows than that: of those that are equal the first
    /// ones by key stay, as they would if all were sorted at once.
    fn prune(&mut self) {
        let (Some(sort), limit) = (self.spec().sort, self.spec().limit) else { return };
        if 0 < limit && 2 * limit.max(PRUNE_ROWS) <= self.rows.len() {
            sort_rows(&mut self.rows, sort);
            self.rows.truncate(limit);
            self.bytes = self.rows.iter().map(row_bytes).sum();
        }
    }

    /// The reply's content once nothing is missing.
    pub fn finish(&mut self) -> Option<RangeOutput> {
        let Totals { count, more } = self.pass.totals()?;
        let (spec, mut rows) = (self.pass.spec(), std::mem::take(&mut self.rows));
        if let Some(sort) = spec.sort {
            sort_rows(&mut rows, sort);
            if 0 < spec.limit {
                rows.truncate(spec.limit);
            }
        }
        if spec.columns == Columns::Keys && spec.sorts_by_value() {
            rows.iter_mut().for_each(|row| row.value = Bytes::new());
        }
        Some(RangeOutput { rows, count, more })
    }
}

/// Rows that a sorted reply with a small limit gathers before it sorts and cuts.
const PRUNE_ROWS: usize = 512;

fn row_bytes(row: &Row) -> usize {
    row.key.len() + row.value.len() + size_of::<Row>()
}

/// Rows that are equal by the target stay in key order, also if the order is descending: etcd's
/// sort leaves them so as long as a reply is small.
fn sort_rows(rows: &mut [Row], sort: Sort) {
    use pb::range_request::SortTarget;
    let by = |a: &Row, b: &Row| match sort.target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.version.cmp(&b.version.version),
        SortTarget::Create => a.version.create.cmp(&b.version.create),
        SortTarget::Mod => a.version.modified.main.cmp(&b.version.modified.main),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    match sort.descending {
        true => rows.sort_by(|a, b| by(b, a)),
        false => rows.sort_by(by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Version;

    fn row(key: &'static str, modified: i64) -> Row {
        let version =
            Version { create: modified, modified: Rev::new(modified, 0), version: 1, lease: 0 };
        Row { key: Bytes::from(key), version, value: Bytes::from(key), value_bytes: key.len() }
    }

    fn request() -> pb::RangeRequest {
        pb::RangeRequest {
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"z"),
            ..pb::RangeRequest::default()
        }
    }

    fn run(request: &pb::RangeRequest, rows: Vec<Row>) -> RangeOutput {
        let spec = RangeSpec::of_request(request, Rev::end_of(9));
        let mut job = RangeJob::new(spec, &[SliceId(0)]);
        for (slice, ask) in job.asks() {
            match ask {
                ReadRequest::Count { .. } => job.counted(rows.len() as u64),
                ReadRequest::Range { limit, .. } => {
                    let size = limit.min(rows.len());
                    let resume = rows.get(size).map(|row| row.key.clone());
                    job.supply(slice, rows[..size].to_vec(), resume);
                }
                ReadRequest::History { .. } => panic!("a range reads no history"),
            }
        }
        job.finish().expect("nothing is missing")
    }

    fn keys(output: &RangeOutput) -> Vec<&[u8]> {
        output.rows.iter().map(|row| &row.key[..]).collect()
    }

    #[test]
    fn a_limit_cuts_rows_but_not_the_count() {
        let limited = pb::RangeRequest { limit: 2, ..request() };
        let output = run(&limited, vec![row("b", 2), row("c", 3), row("d", 4)]);
        assert_eq!((output.rows.len(), output.count, output.more), (2, 3, true));
        let exact = run(&limited, vec![row("b", 2), row("c", 3)]);
        assert_eq!((exact.rows.len(), exact.count, exact.more), (2, 2, false));
    }

    #[test]
    fn filters_act_before_the_limit_and_not_on_the_count() {
        let filtered = pb::RangeRequest { limit: 1, min_mod_revision: 3, ..request() };
        let output = run(&filtered, vec![row("b", 2), row("c", 3), row("d", 4)]);
        assert_eq!(keys(&output), [b"c"]);
        assert_eq!((output.count, output.more), (3, true));
    }

    #[test]
    fn a_target_without_order_sorts_ascending() {
        let sorted = pb::RangeRequest { sort_target: 3, ..request() };
        let output = run(&sorted, vec![row("b", 7), row("c", 3), row("d", 5)]);
        assert_eq!(keys(&output), [b"c", b"d", b"b"]);
        let down = pb::RangeRequest { sort_order: 2, ..request() };
        assert_eq!(keys(&run(&down, vec![row("b", 7), row("c", 3)])), [b"c", b"b"]);
    }

    #[test]
    fn equal_rows_keep_the_order_of_keys_also_downwards() {
        let by_version = pb::RangeRequest { sort_order: 2, sort_target: 1, ..request() };
        let output = run(&by_version, vec![row("b", 7), row("c", 3), row("d", 5)]);
        assert_eq!(keys(&output), [b"b", b"c", b"d"]);
    }

    #[test]
    fn a_sorted_reply_with_a_limit_keeps_no_more_than_it_needs() {
        let mut dice = base::Prng::from_seed(9);
        let all: Vec<Row> = (0..4000)
            .map(|number| Row {
                key: format!("{number:05}").into(),
                ..row("", dice.below(50) as i64)
            })
            .collect();
        for (order, limit) in [(1, 3), (2, 3), (2, 700), (1, 3999), (2, 5000)] {
            let sorted = pb::RangeRequest { sort_target: 3, sort_order: order, limit, ..request() };
            let spec = RangeSpec::of_request(&sorted, Rev::end_of(9));
            let mut job = RangeJob::new(spec, &[SliceId(0)]);
            assert_eq!(job.asks().len(), 1);
            job.supply(SliceId(0), all.clone(), None);
            assert!(job.rows.len() <= 2 * PRUNE_ROWS.max(limit as usize));
            let output = job.finish().expect("nothing is missing");
            let mut want = all.clone();
            let sort = Sort {
                target: pb::range_request::SortTarget::Mod,
                descending: order == 2,
                order: Order::Named,
            };
            sort_rows(&mut want, sort);
            want.truncate(limit as usize);
            assert_eq!((output.rows, output.count), (want, 4000));
            assert_eq!(output.more, limit < 4000);
        }
    }

    #[test]
    fn a_limit_acts_before_a_sort_whose_order_is_not_named() {
        let sorted = pb::RangeRequest { sort_target: 3, limit: 1, ..request() };
        let rows = || vec![row("b", 7), row("c", 3), row("d", 1)];
        assert_eq!(keys(&run(&sorted, rows())), [b"c"], "of the first two by key");
        let named = pb::RangeRequest { sort_order: 1, ..sorted };
        assert_eq!(keys(&run(&named, rows())), [b"d"]);
    }

    #[test]
    fn count_only_asks_for_no_rows() {
        let counting = pb::RangeRequest { count_only: true, limit: 1, ..request() };
        let output = run(&counting, vec![row("b", 7), row("c", 3)]);
        assert_eq!((output.rows.len(), output.count, output.more), (0, 2, false));
    }
}
