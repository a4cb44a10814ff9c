//! Owns what one core counts of its calls, and how long its turns take. Single-threaded; read by
//! the metrics page alone. Never delays a call: the hot path adds to integers.
//! Invariant: a call that was begun is ended once, whichever way it ends.

use std::cell::{Cell, RefCell};
use std::time::Instant as Clock;

use base::Instant;
use node::CallId;
use node::figures::{CALL_NS, Histogram, STAGE_NS};
use settings::MetricsDetail;
use wire::{Code, Method};

/// Codes are counted under their numbers.
const CODES: usize = Code::ALL.len();
/// One turn in so many is timed.
const TURNS_A_SAMPLE: u64 = 8;
/// Client versions that are told apart; hostile clients could name any number.
const CLIENTS_MAX: usize = 16;
/// The name of all others, and of clients that do not say.
const CLIENT_UNKNOWN: &str = "unknown";

/// One method's calls.
#[derive(Clone, Debug)]
pub struct MethodCounts {
    /// Calls begun.
    pub started: u64,
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Calls ended, by code.
    pub handled: [u64; CODES],
    /// How long they took, if that is kept.
    pub took: Option<Histogram>,
}

/// One client version's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCounts {
    /// What `client-api-version` said.
    pub version: String,
    /// Unary calls.
    pub unary: u64,
    /// Streams.
    pub stream: u64,
}

/// Everything that a core counts of its calls.
#[derive(Clone, Debug)]
pub struct Counts {
    /// In the order of [`Method::ALL`].
    pub methods: Vec<MethodCounts>,
    /// By version.
    pub clients: Vec<ClientCounts>,
    /// Bytes of messages received.
    pub received_bytes: u64,
    /// Bytes of messages sent.
    pub sent_bytes: u64,
    /// Health probes answered well.
    pub health_good: u64,
    /// Health probes answered badly.
    pub health_bad: u64,
    /// Turns in which the leader handed out outcomes.
    pub apply: Histogram,
    /// Turns in which the shard made replies.
    pub encode: Histogram,
}

impl Counts {
    fn new(detail: MetricsDetail) -> Counts {
        let method = MethodCounts {
            started: 0,
            received: 0,
            sent: 0,
            handled: [0; CODES],
            took: match detail {
                MetricsDetail::Basic => None,
                MetricsDetail::Extensive => Some(Histogram::new(&CALL_NS)),
            },
        };
        Counts {
            methods: vec![method; Method::ALL.len()],
            clients: Vec::new(),
            received_bytes: 0,
            sent_bytes: 0,
            health_good: 0,
            health_bad: 0,
            apply: Histogram::new(&STAGE_NS),
            encode: Histogram::new(&STAGE_NS),
        }
    }

    /// Adds another core's.
    pub fn add(&mut self, other: &Counts) {
        for (mine, theirs) in self.methods.iter_mut().zip(&other.methods) {
            mine.started += theirs.started;
            mine.received += theirs.received;
            mine.sent += theirs.sent;
            mine.handled.iter_mut().zip(theirs.handled).for_each(|(mine, theirs)| *mine += theirs);
            if let (Some(mine), Some(theirs)) = (&mut mine.took, &theirs.took) {
                mine.add(theirs);
            }
        }
        for theirs in &other.clients {
            let mine = self.client(&theirs.version);
            mine.unary += theirs.unary;
            mine.stream += theirs.stream;
        }
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.health_good += other.health_good;
        self.health_bad += other.health_bad;
        self.apply.add(&other.apply);
        self.encode.add(&other.encode);
    }

    fn client(&mut self, version: &str) -> &mut ClientCounts {
        let place = |clients: &[ClientCounts], version: &str| {
            clients.iter().position(|client| client.version == version)
        };
        let known = place(&self.clients, version);
        let name = match known {
            None if self.clients.len() >= CLIENTS_MAX => CLIENT_UNKNOWN,
            None | Some(_) => version,
        };
        let at = known.or_else(|| place(&self.clients, name)).unwrap_or_else(|| {
            self.clients.push(ClientCounts { version: name.to_owned(), unary: 0, stream: 0 });
            self.clients.len() - 1
        });
        &mut self.clients[at]
    }
}

/// An open call, at the place that its slot number names.
#[derive(Clone, Copy)]
struct Open {
    call: CallId,
    method: u16,
    since: Instant,
}

/// No call has this number: slots are below it.
const NOBODY: CallId = CallId(u64::MAX);

/// A stage of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The leader decides and hands out outcomes.
    Apply,
    /// The shard makes replies.
    Encode,
}

/// A stage under way; nothing in a turn that is not timed.
pub struct Lap(Option<(Clock, u64)>);

/// One core's counts, as they are kept.
pub struct Tally {
    counts: RefCell<Counts>,
    open: RefCell<Vec<Open>>,
    turns: Cell<u64>,
    replies: Cell<u64>,
    outcomes: Cell<u64>,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(detail: MetricsDetail) -> Tally {
        Tally {
            counts: RefCell::new(Counts::new(detail)),
            open: RefCell::default(),
            turns: Cell::new(0),
            replies: Cell::new(0),
            outcomes: Cell::new(0),
        }
    }

    /// The counts as they stand.
    pub fn read(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// A call begins.
    pub fn began(&self, call: CallId, method: Method, client: Option<&str>, since: Instant) {
        let number = method as u16;
        let at = slot(call);
        let mut open = self.open.borrow_mut();
        if open.len() <= at {
            open.resize(at + 1, Open { call: NOBODY, method: 0, since });
        }
        open[at] = Open { call, method: number, since };
        let mut counts = self.counts.borrow_mut();
        counts.methods[usize::from(number)].started += 1;
        let client = counts.client(client.unwrap_or(CLIENT_UNKNOWN));
        match method.kind() {
            wire::method::Kind::Unary => client.unary += 1,
            wire::method::Kind::ServerStream | wire::method::Kind::Bidi => client.stream += 1,
        }
    }

    /// A message of a call arrived.
    pub fn received(&self, call: CallId, bytes: usize) {
        let Some(open) = self.find(call) else { return };
        let mut counts = self.counts.borrow_mut();
        counts.methods[usize::from(open.method)].received += 1;
        counts.received_bytes += bytes as u64;
    }

    /// A message of a call was handed to the network.
    pub fn sent(&self, call: CallId, bytes: usize) {
        self.replies.set(self.replies.get() + 1);
        let Some(open) = self.find(call) else { return };
        let mut counts = self.counts.borrow_mut();
        counts.methods[usize::from(open.method)].sent += 1;
        counts.sent_bytes += bytes as u64;
    }

    /// A call is over.
    pub fn ended(&self, call: CallId, code: Code, now: Instant) {
        let Some(open) = self.find(call) else { return };
        self.open.borrow_mut()[slot(call)].call = NOBODY;
        let method = &mut self.counts.borrow_mut().methods[usize::from(open.method)];
        method.handled[code as usize] += 1;
        if let Some(took) = &mut method.took {
            took.observe_between(open.since, now);
        }
    }

    /// A health probe was answered.
    pub fn probed(&self, trouble: Option<&str>) {
        let mut counts = self.counts.borrow_mut();
        match trouble {
            None => counts.health_good += 1,
            Some(_) => counts.health_bad += 1,
        }
    }

    /// The leader handed out outcomes.
    pub fn outcomes(&self) {
        self.outcomes.set(self.outcomes.get() + 1);
    }

    /// A turn begins.
    pub fn turn(&self) {
        self.turns.set(self.turns.get().wrapping_add(1));
    }

    /// A stage of this turn begins.
    pub fn lap(&self, stage: Stage) -> Lap {
        let timed = self.turns.get().is_multiple_of(TURNS_A_SAMPLE);
        Lap(timed.then(|| (Clock::now(), self.work(stage))))
    }

    /// It is over; it counts if there was work in it.
    pub fn lapped(&self, stage: Stage, lap: Lap) {
        let Some((began, before)) = lap.0 else { return };
        if self.work(stage) == before {
            return;
        }
        let mut counts = self.counts.borrow_mut();
        match stage {
            Stage::Apply => counts.apply.observe_time(began.elapsed()),
            Stage::Encode => counts.encode.observe_time(began.elapsed()),
        }
    }

    fn work(&self, stage: Stage) -> u64 {
        match stage {
            Stage::Apply => self.outcomes.get(),
            Stage::Encode => self.replies.get(),
        }
    }

    fn find(&self, call: CallId) -> Option<Open> {
        self.open.borrow().get(slot(call)).copied().filter(|open| open.call == call)
    }
}

/// The network numbers its calls by slot and generation.
fn slot(call: CallId) -> usize {
    (call.0 & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_ended_once() {
        let tally = Tally::new(MetricsDetail::Extensive);
        let (old, new) = (CallId(1 << 32 | 7), CallId(2 << 32 | 7));
        tally.began(old, Method::Put, Some("3.5"), Instant(0));
        tally.received(old, 10);
        tally.sent(old, 20);
        tally.ended(old, Code::Ok, Instant(6_000_000));
        tally.ended(old, Code::Canceled, Instant(9_000_000));
        tally.began(new, Method::Watch, None, Instant(0));
        tally.sent(old, 5);
        let counts = tally.read();
        let put = &counts.methods[Method::Put as usize];
        assert_eq!((put.started, put.received, put.sent), (1, 1, 1));
        assert_eq!((put.handled[0], put.handled[1]), (1, 0));
        assert_eq!(put.took.as_ref().map(Histogram::sum), Some(6_000_000));
        assert_eq!((counts.received_bytes, counts.sent_bytes), (10, 20));
        assert_eq!(counts.methods[Method::Watch as usize].started, 1);
    }

    #[test]
    fn any_number_of_client_versions_fits() {
        let tally = Tally::new(MetricsDetail::Basic);
        for number in 0..100 {
            let version = format!("3.{number}");
            tally.began(CallId(number), Method::Put, Some(&version), Instant(0));
        }
        let mut counts = tally.read();
        assert_eq!(counts.clients.len(), CLIENTS_MAX + 1);
        assert_eq!(counts.clients.iter().map(|client| client.unary).sum::<u64>(), 100);
        counts.add(&tally.read());
        assert_eq!(counts.methods[Method::Put as usize].started, 200);
    }
}
