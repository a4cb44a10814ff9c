//! Owns the lines of a history file: JSON, one record each, messages as the hexadecimal digits of
//! their protobuf bytes. `tools/chaos` writes them.
//! Never judges. Invariant: a line that is not understood is an error that names it.

use base::Instant;
use ringleader_simcluster::history::Stamp;
use serde::Deserialize;

/// When something happened: a number that rises with every moment, and nanoseconds of one clock.
pub type Moment = (u64, u64);

/// One line.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A member, before anything that names it.
    Member {
        /// Its number, from 1 on.
        member: u64,
        /// By its replies' headers.
        cluster_id: u64,
        /// By its replies' headers.
        member_id: u64,
    },
    /// An operation and what came of it.
    Op {
        /// Whom it was asked of.
        member: u64,
        /// Such as `KV/Put`.
        method: String,
        /// The message.
        request: String,
        /// When it was asked.
        called: Moment,
        /// When it was answered; never, if nobody knows what came of it.
        ended: Option<Moment>,
        /// The answer.
        reply: Option<String>,
        /// Or the refusal: a code of gRPC and its text.
        error: Option<(u16, String)>,
    },
    /// A stream that carries a watch from now on.
    Watch {
        /// Number of the watch.
        watch: u64,
        /// Whom it was asked of.
        member: u64,
        /// What was asked.
        create: String,
        /// When.
        at: Moment,
    },
    /// What came on the watch's last stream.
    Watched {
        /// Number of the watch.
        watch: u64,
        /// The message.
        reply: String,
        /// When.
        at: Moment,
    },
    /// A member said who leads.
    Role {
        /// In this term.
        term: u64,
        /// That member's id.
        leader: u64,
    },
    /// In the end: everything that a member says happened, as a watch from revision 1 tells it.
    History {
        /// Which member.
        member: u64,
        /// Its messages.
        replies: Vec<String>,
    },
    /// In the end: everything that a member holds.
    State {
        /// Which member.
        member: u64,
        /// The range that was asked.
        request: String,
        /// Its answer.
        reply: String,
        /// The answer to a question for its hash.
        hash: String,
    },
}

/// Reads all lines.
pub fn read(text: &str) -> Result<Vec<Record>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1))
        })
        .collect()
}

/// A moment in the oracle's words.
pub fn stamp(moment: Moment) -> Stamp {
    Stamp { order: moment.0, at: Instant(moment.1) }
}

/// A message out of its digits.
pub fn message<M: prost::Message + Default>(digits: &str) -> Result<M, String> {
    M::decode(&bytes(digits)?[..]).map_err(|error| error.to_string())
}

/// Bytes out of their digits.
pub fn bytes(digits: &str) -> Result<Vec<u8>, String> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err(format!("not hexadecimal: {digits:.40}"));
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).map_err(|error| format!("{pair:?}: {error}")))
        .collect()
}
