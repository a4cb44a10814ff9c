//! Owns one phase of a run on one core: handing out turns to clients, counting what came of them,
//! and ending it. Invariant: a turn is counted once, also when its answer never comes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_lite::future;
use hdrhistogram::Histogram;
use measure::series::Times;
use measure::workload::Workload;
use measure::{Latency, Pace, Schedule, Series};
use wire::Status;

use super::gate::Gate;
use super::seat::{Client, Seat};
use super::shared::Shared;

/// How often a core shows how it goes and looks whether answers still come.
const LOOK: Duration = Duration::from_millis(250);
const P99_NS_MAX: u64 = 600_000_000_000;

/// When a phase ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After so many requests of all cores.
    Total(u64),
    /// After so long; what was sent is still awaited.
    For(Duration),
}

/// One phase.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What is counted apart.
    pub names: Vec<String>,
    /// What drives the clients, of all cores together.
    pub pace: Pace,
    /// When it ends.
    pub end: End,
    /// What comes so early is sent but not counted.
    pub warm_up: Duration,
}

/// One request that a client may send now.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Its number among the requests of all clients.
    pub number: u64,
    intended_ns: u64,
    sent_ns: u64,
}

struct State {
    shared: Arc<Shared>,
    core: usize,
    gate: Option<Rc<Gate>>,
    end: End,
    measure_from_ns: u64,
    warm_turns: Cell<u64>,
    series: RefCell<Vec<Series>>,
    in_flight: Cell<u64>,
    /// When something last moved: an answer came, or a request went out while none was under way.
    moved_ns: Cell<u64>,
    recent: RefCell<Histogram<u32>>,
}

/// What a client asks for its turns, and tells what came of them.
#[derive(Clone)]
pub struct Turns(Rc<State>);

impl Turns {
    /// The next turn, when its time has come; None when there is no more.
    pub async fn next(&self) -> Option<Turn> {
        let state = &self.0;
        if state.shared.is_ending() {
            return None;
        }
        let (intended_ns, sent_ns) = match &state.gate {
            None => {
                let now_ns = state.shared.now_ns();
                (now_ns, now_ns)
            }
            Some(gate) => {
                let intended_ns = gate.take(&state.shared).await?;
                (intended_ns, state.shared.now_ns())
            }
        };
        let Some(number) = self.number(intended_ns) else {
            if let Some(gate) = &state.gate {
                gate.close();
            }
            return None;
        };
        if state.in_flight.replace(state.in_flight.get() + 1) == 0 {
            state.moved_ns.set(sent_ns);
        }
        Some(Turn { number, intended_ns, sent_ns })
    }

    fn number(&self, intended_ns: u64) -> Option<u64> {
        let state = &self.0;
        if intended_ns < state.measure_from_ns {
            return Some(state.warm_turns.replace(state.warm_turns.get() + 1));
        }
        match state.end {
            End::Total(total) => Some(state.shared.claim()).filter(|number| *number < total),
            End::For(span) => {
                let end_ns = state.measure_from_ns + span.as_nanos() as u64;
                (intended_ns < end_ns).then(|| state.shared.claim())
            }
        }
    }

    /// The turn had a good answer.
    pub fn good(&self, series: usize, turn: Turn) {
        let state = &self.0;
        let done_ns = self.landed();
        if turn.intended_ns < state.measure_from_ns {
            return;
        }
        let from = |ns: u64| ns - state.measure_from_ns;
        let (intended_ns, sent_ns) = (from(turn.intended_ns), from(turn.sent_ns));
        let times = Times { intended_ns, sent_ns, done_ns: from(done_ns) };
        state.series.borrow_mut()[series].good(times);
        state.recent.borrow_mut().saturating_record(times.done_ns - times.intended_ns);
        state.shared.boards[state.core].good.fetch_add(1, Ordering::Relaxed);
    }

    /// The turn failed.
    pub fn failed(&self, series: usize, turn: Turn, code: &str, text: &str) {
        self.landed();
        if self.0.measure_from_ns <= turn.intended_ns {
            self.note_failure(series, code, text);
        }
    }

    /// The turn failed with this status.
    pub fn refused(&self, series: usize, turn: Turn, status: &Status) {
        self.failed(series, turn, status.code.name(), &status.message);
    }

    /// Counts something that took so long and that no turn was taken for: an event that arrived.
    pub fn arrived(&self, series: usize, latency_ns: u64) {
        let state = &self.0;
        let done_ns = state.shared.now_ns();
        state.moved_ns.set(done_ns);
        let Some(done_ns) = done_ns.checked_sub(state.measure_from_ns) else { return };
        let sent_ns = done_ns.saturating_sub(latency_ns);
        state.series.borrow_mut()[series].good(Times { intended_ns: sent_ns, sent_ns, done_ns });
    }

    /// Counts a failure that belongs to no turn.
    pub fn note_failure(&self, series: usize, code: &str, text: &str) {
        let state = &self.0;
        let at_ns = state.shared.now_ns().saturating_sub(state.measure_from_ns);
        state.series.borrow_mut()[series].failed(at_ns, code, text);
        state.shared.boards[state.core].failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Something that is not a turn is due: an event. Ended by [`Turns::came`].
    pub fn due(&self) {
        let state = &self.0;
        state.in_flight.set(state.in_flight.get() + 1);
        state.moved_ns.set(state.shared.now_ns());
    }

    /// What was due has come.
    pub fn came(&self) {
        self.landed();
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.0.shared.now_ns()
    }

    /// Whether turns end early.
    pub fn is_ending(&self) -> bool {
        self.0.shared.is_ending()
    }

    fn landed(&self) -> u64 {
        let state = &self.0;
        let now_ns = state.shared.now_ns();
        state.moved_ns.set(now_ns);
        state.in_flight.set(state.in_flight.get() - 1);
        now_ns
    }
}

impl Seat {
    /// Runs a phase on this core: `body` for each of `clients`, until all of them have ended.
    pub async fn phase<F, B>(
        self: &Rc<Seat>,
        phase: Phase,
        clients: &[Client],
        body: B,
    ) -> Vec<(String, Series)>
    where
        F: Future<Output = ()> + 'static,
        B: Fn(Client, Turns) -> F,
    {
        let Some(opened_ns) = self.meet().await else { return Vec::new() };
        let measure_from_ns = opened_ns + phase.warm_up.as_nanos() as u64;
        let shared = &self.shared;
        shared
            .total
            .store(if let End::Total(total) = phase.end { total } else { 0 }, Ordering::Relaxed);
        let _ = shared.measured_from_ns.compare_exchange(
            0,
            measure_from_ns,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        let recent = Histogram::new_with_bounds(1000, P99_NS_MAX, 2).expect("bounds in order");
        let turns = Turns(Rc::new(State {
            shared: shared.clone(),
            core: self.core,
            gate: self.gate(phase.pace, opened_ns),
            end: phase.end,
            measure_from_ns,
            warm_turns: Cell::new(0),
            series: RefCell::new(vec![Series::default(); phase.names.len()]),
            in_flight: Cell::new(0),
            moved_ns: Cell::new(opened_ns),
            recent: RefCell::new(recent),
        }));
        let tasks: Vec<_> = clients
            .iter()
            .map(|client| glommio::spawn_local(body(client.clone(), turns.clone())))
            .collect();
        let dispatcher = turns.0.gate.clone().map(|gate| {
            let shared = shared.clone();
            glommio::spawn_local(async move { gate.dispatch(&shared).await })
        });
        let all = async {
            for task in tasks {
                task.await;
            }
        };
        future::or(all, self.guard(&turns)).await;
        if let Some(gate) = &turns.0.gate {
            gate.close();
            self.late.borrow_mut().merge(&gate.late.borrow());
        }
        drop(dispatcher);
        let series = std::mem::take(&mut *turns.0.series.borrow_mut());
        phase.names.into_iter().zip(series).collect()
    }

    /// A phase whose clients ask one workload each.
    pub async fn ask(
        self: &Rc<Seat>,
        phase: Phase,
        workload: impl Fn(&Client) -> Box<dyn Workload>,
    ) -> Vec<(String, Series)> {
        self.phase(phase, &self.clients, |client, turns| {
            let workload = workload(&client);
            ask_on(client, turns, workload)
        })
        .await
    }

    /// The core's part of an open loop.
    fn gate(&self, pace: Pace, from_ns: u64) -> Option<Rc<Gate>> {
        match pace.share(self.clients.len(), self.clients_all) {
            Pace::Open { rate, arrivals } if rate > 0.0 => {
                let schedule = Schedule::new(rate, arrivals, self.seed ^ self.core as u64);
                Some(Rc::new(Gate::new(schedule, from_ns)))
            }
            Pace::Open { .. } | Pace::Closed => None,
        }
    }

    /// Shows how it goes; ends when nothing has moved for too long, having counted what is missing.
    async fn guard(&self, turns: &Turns) {
        let state = &turns.0;
        loop {
            glommio::timer::sleep(LOOK).await;
            let mut recent = state.recent.borrow_mut();
            let board = &state.shared.boards[self.core];
            board.p99_ns.store(recent.value_at_quantile(0.99), Ordering::Relaxed);
            recent.reset();
            let still_ns = state.shared.now_ns().saturating_sub(state.moved_ns.get());
            let under_way = state.in_flight.get();
            let patience = if state.shared.is_ending() { LOOK * 4 } else { self.patience };
            if under_way == 0 || still_ns < patience.as_nanos() as u64 {
                continue;
            }
            let text = format!("no answer within {:.0} s", patience.as_secs_f64());
            for _ in 0..under_way {
                turns.note_failure(0, "DeadlineExceeded", &text);
            }
            return;
        }
    }
}

async fn ask_on(client: Client, turns: Turns, mut workload: Box<dyn Workload>) {
    while let Some(turn) = turns.next().await {
        let op = workload.next(turn.number);
        match client.link.unary(op.method, op.frame).await {
            Ok(reply) => match workload.answered(reply) {
                Ok(()) => turns.good(op.series, turn),
                Err(wrong) => turns.failed(op.series, turn, measure::failures::WRONG, &wrong.0),
            },
            Err(status) => {
                workload.failed();
                turns.refused(op.series, turn, &status);
            }
        }
    }
}

/// Rows of times of phases, added to those of other cores by name.
pub(super) fn merge(all: &mut Vec<(String, Series)>, more: Vec<(String, Series)>) {
    for (name, series) in more {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.merge(series),
            None => all.push((name, series)),
        }
    }
}

/// How late the cores were, together.
pub(super) fn late_p99_ns(late: &[Latency]) -> u64 {
    let mut all = Latency::default();
    late.iter().for_each(|one| all.merge(one));
    all.percentile_ns(99.0)
}
