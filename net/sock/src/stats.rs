//! Owns the counters of one core's network. Single-threaded. Invariant: a counter only grows;
//! a gauge is what went in less what came out.

use std::cell::Cell;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters as they are kept.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Cell<u64>,)* }

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
