//! Owns what one HTTP/2 client may do to us in how much time. Pure: told the time, answers with
//! an offence or nothing. Invariant: a client that behaves as grpc-go, grpc-java, grpc-core,
//! nghttp2 or h2 do by default commits none.

use crate::limits::{
    IDLE_FRAMES_BURST, IDLE_FRAMES_PER_SECOND, PING_IDLE_MS, PING_STRIKES_MAX, RESETS_BURST,
    RESETS_PER_SECOND, SETTINGS_BURST,
};
use crate::scan::{FLAG_END_OR_ACK, FrameKind, Seen};

/// Why a connection is closed with ENHANCE_YOUR_CALM or PROTOCOL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// More than [`PING_STRIKES_MAX`] pings came too soon.
    Pings,
    /// Too many SETTINGS.
    Settings,
    /// Too many RST_STREAM.
    Resets,
    /// Too many frames that carry nothing.
    IdleFrames,
    /// The first frame was not SETTINGS.
    Preface,
}

impl Offence {
    /// The text in the GOAWAY; the first is grpc-go's and clients act on it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Offence::Pings => "too_many_pings",
            Offence::Settings => "too_many_settings",
            Offence::Resets => "too_many_resets",
            Offence::IdleFrames => "too_many_empty_frames",
            Offence::Preface => "settings_expected",
        }
    }

    /// The error code in the GOAWAY (RFC 9113, section 7).
    pub(crate) fn code(self) -> h2::Reason {
        match self {
            Offence::Pings | Offence::Settings | Offence::Resets | Offence::IdleFrames => {
                h2::Reason::ENHANCE_YOUR_CALM
            }
            Offence::Preface => h2::Reason::PROTOCOL_ERROR,
        }
    }
}

/// Tokens that come back with time.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    burst: u32,
    per_second: u32,
    filled_ms: u64,
}

impl Bucket {
    fn new(burst: u32, per_second: u32) -> Bucket {
        Bucket { tokens: burst, burst, per_second, filled_ms: 0 }
    }

    fn earn(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens).min(self.burst);
    }

    fn spend(&mut self, now_ms: u64) -> Result<(), ()> {
        let seconds = (now_ms - self.filled_ms) / 1000;
        if seconds > 0 {
            self.filled_ms += seconds * 1000;
            let earned = seconds.saturating_mul(u64::from(self.per_second));
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(())?;
        Ok(())
    }
}

/// What a client did so far.
#[derive(Debug)]
pub(crate) struct Guard {
    started: bool,
    ping_interval_min_ms: u64,
    last_ping_ms: Option<u64>,
    ping_strikes: u32,
    settings: Bucket,
    resets: Bucket,
    idle: Bucket,
}

/// What pings are judged by, asked for only when one comes.
pub(crate) struct Moment {
    /// Milliseconds, exact.
    pub(crate) now_ms: u64,
    /// Whether a call is open.
    pub(crate) is_busy: bool,
}

impl Guard {
    pub(crate) fn new(ping_interval_min_ms: u64) -> Guard {
        Guard {
            started: false,
            ping_interval_min_ms,
            last_ping_ms: None,
            ping_strikes: 0,
            settings: Bucket::new(SETTINGS_BURST, 1),
            resets: Bucket::new(RESETS_BURST, RESETS_PER_SECOND),
            idle: Bucket::new(IDLE_FRAMES_BURST, IDLE_FRAMES_PER_SECOND),
        }
    }

    /// HEADERS or DATA went out: pings up to now are forgiven (as grpc-go does).
    pub(crate) fn answered(&mut self) {
        self.ping_strikes = 0;
        self.last_ping_ms = None;
    }

    /// A call ended: its client may reset another.
    pub(crate) fn finished(&mut self, calls: u32) {
        self.resets.earn(calls);
    }

    /// Judges a frame. `now_ms` may be coarse; `moment` is exact.
    pub(crate) fn judge(
        &mut self,
        frame: &Seen,
        now_ms: u64,
        moment: impl FnOnce() -> Moment,
    ) -> Result<(), Offence> {
        if !self.started {
            if frame.kind != FrameKind::Settings || frame.flags & FLAG_END_OR_ACK != 0 {
                return Err(Offence::Preface);
            }
            self.started = true;
        }
        let is_ack = frame.flags & FLAG_END_OR_ACK != 0;
        match frame.kind {
            FrameKind::Headers | FrameKind::WindowUpdate | FrameKind::GoAway => Ok(()),
            FrameKind::Data if frame.payload_bytes > 0 || is_ack => Ok(()),
            FrameKind::Continuation if frame.payload_bytes > 0 => Ok(()),
            FrameKind::Ping if !is_ack => self.ping(&moment()),
            FrameKind::Settings if !is_ack => {
                self.settings.spend(now_ms).map_err(|()| Offence::Settings)
            }
            FrameKind::Reset => self.resets.spend(now_ms).map_err(|()| Offence::Resets),
            FrameKind::Data
            | FrameKind::Continuation
            | FrameKind::Ping
            | FrameKind::Settings
            | FrameKind::Priority
            | FrameKind::PushPromise
            | FrameKind::Unknown => self.idle.spend(now_ms).map_err(|()| Offence::IdleFrames),
        }
    }

    fn ping(&mut self, moment: &Moment) -> Result<(), Offence> {
        let least = if moment.is_busy { self.ping_interval_min_ms } else { PING_IDLE_MS };
        let last = self.last_ping_ms.replace(moment.now_ms);
        if last.is_some_and(|last| moment.now_ms < last.saturating_add(least)) {
            self.ping_strikes += 1;
        }
        if self.ping_strikes > PING_STRIKES_MAX { Err(Offence::Pings) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
