//! Owns the client's side of the wire: connections of HTTP/2 on glommio, gRPC calls and streams
//! over them. Knows no workload. Invariant: every call ends with an answer or a status.

mod address;
mod bell;
mod link;
mod pipe;
mod stream;
mod tls;
mod trust;

pub use address::{Scheme, Target, resolve};
pub use link::{Dialer, Link};
pub use stream::{Incoming, Outgoing};
pub use trust::TrustFlags;
