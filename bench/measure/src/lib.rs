//! Owns what a benchmark decides and what it says: which request comes next and what answer is
//! right, when it is meant to be sent, what a row of times amounts to, and how that reads as a
//! table, as etcd's own report, as JSON and as a page. Never sends anything and never asks what
//! time it is. Invariant: equal seeds choose equal requests; equal times give equal reports.
#![forbid(unsafe_code)]

pub mod comparison;
pub mod failures;
pub mod keys;
pub mod latency;
pub mod op;
pub mod outcome;
pub mod pace;
pub mod report;
pub mod series;
pub mod spread;
pub mod timeline;
pub mod workload;
pub mod zipf;

pub use comparison::{Comparison, Sample};
pub use failures::Failures;
pub use keys::{KeyOrder, KeySpace};
pub use latency::Latency;
pub use op::{Op, Wrong};
pub use outcome::{Outcome, SeriesOutcome};
pub use pace::{Arrivals, Pace, Schedule};
pub use series::Series;
pub use spread::Spread;
