//! Owns the counters of one core's network. Single-threaded. Invariant: a counter only grows;
//! a gauge is what went in less what came out.

use std::cell::Cell;
use std::time::Duration;

use crate::hub::Hub;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters as they are kept.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Cell<u64>,)*
            pub(crate) flushes: Flushes,
        }

        /// Counters of one core as read at one moment. Names ending in `_now` are gauges.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* }
            }
        }

        impl Stats {
            /// Adds another core's figures.
            pub fn add(&mut self, other: &Stats) {
                $(self.$name += other.$name;)*
            }

            /// Every figure with its name, in the order of declaration.
            pub fn each(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Connections taken over by this core.
    connections_opened,
    /// Connections open.
    connections_now,
    /// Calls begun, gRPC and HTTP.
    calls_opened,
    /// Calls open.
    calls_now,
    /// Bytes read from sockets.
    received_bytes,
    /// Bytes written to sockets.
    sent_bytes,
    /// `send` calls; far fewer than frames.
    sends,
    /// `recv` calls that brought bytes.
    receives,
    /// Calls given up by their clients.
    calls_gone,
    /// Messages larger than the limit.
    messages_too_large,
    /// HTTP bodies larger than the limit.
    bodies_too_large,
    /// Calls refused because the connection does not read its answers.
    calls_refused_unread,
    /// Calls refused because unfinished requests fill the memory set aside for them.
    calls_refused_memory,
    /// Connections closed: nothing sensible within the handshake time.
    timeouts_handshake,
    /// Connections closed: idle or slow HTTP/1.1.
    timeouts_http1,
    /// Connections closed: our ping was not answered.
    timeouts_keepalive,
    /// Connections closed: `too_many_pings`.
    floods_ping,
    /// Connections closed: too many SETTINGS.
    floods_settings,
    /// Connections closed: too many RST_STREAM.
    floods_reset,
    /// Connections closed: too many frames that carry nothing.
    floods_idle_frames,
    /// Connections closed: HTTP/2 broken in another way.
    errors_http2,
    /// HTTP/1.1 requests that could not be understood.
    errors_http1,
    /// Connections lost with an I/O error.
    errors_io,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}

/// Takes from a gauge.
pub(crate) fn sub(gauge: &Cell<u64>, n: u64) {
    let now = gauge.get();
    assert!(n <= now);
    gauge.set(now - n);
}

/// One flush in so many is timed.
const FLUSHES_A_SAMPLE: u64 = 16;
/// Classes of [`FlushTimes`] with a bound.
pub const FLUSH_CLASSES: usize = 22;

/// How long output waited for the kernel to take it, as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    begun: Cell<u64>,
    classes: [Cell<u64>; FLUSH_CLASSES + 1],
    sum_ns: Cell<u64>,
}

impl Flushes {
    /// The first byte of a flush was queued; true if this one is to be timed.
    pub(crate) fn begin(&self) -> bool {
        add(&self.begun, 1);
        self.begun.get().is_multiple_of(FLUSHES_A_SAMPLE)
    }

    /// The kernel took the last byte of a timed one.
    pub(crate) fn end(&self, took: Duration) {
        let took_us = took.as_nanos().div_ceil(1_000);
        let class = (u128::BITS - took_us.saturating_sub(1).leading_zeros()) as usize;
        add(&self.classes[class.min(FLUSH_CLASSES)], 1);
        add(&self.sum_ns, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// How long output waited for the kernel to take it; one flush in sixteen is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushTimes {
    /// Flushes of up to 1, 2, 4 and so on microseconds; the last class has no bound.
    pub classes: [u64; FLUSH_CLASSES + 1],
    /// All of them together, in nanoseconds.
    pub sum_ns: u64,
}

impl Hub {
    /// How long output waited so far.
    pub fn flush_times(&self) -> FlushTimes {
        let flushes = &self.0.counters.flushes;
        FlushTimes {
            classes: std::array::from_fn(|class| flushes.classes[class].get()),
            sum_ns: flushes.sum_ns.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_falls_into_the_class_that_bounds_it() {
        let flushes = Flushes::default();
        for nanos in [0, 1_000, 1_001, 2_000, 2_001, u64::MAX] {
            flushes.sum_ns.set(0);
            flushes.end(Duration::from_nanos(nanos));
        }
        let counts: Vec<u64> = flushes.classes.iter().map(Cell::get).collect();
        assert_eq!(counts[..4], [2, 2, 1, 0]);
        assert_eq!(counts[FLUSH_CLASSES], 1);
    }
}
