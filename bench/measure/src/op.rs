//! Owns one request as data, and the judgement of answers that all workloads share.
//! Invariant: an answer that cannot be right is [`Wrong`], never counted as good.

use bytes::Bytes;
use prost::Message;
use wire::Method;
use wire::etcdserverpb::ResponseHeader;

/// One request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Op {
    /// Which of the workload's series counts it.
    pub series: usize,
    /// What is called.
    pub method: Method,
    /// The message in its gRPC frame.
    pub frame: Bytes,
}

impl Op {
    /// A request of `method` with this message.
    pub fn new(series: usize, method: Method, message: &impl Message) -> Op {
        Op { series, method, frame: wire::grpc::frame(message) }
    }
}

/// Why an answer is not right, in words for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl Wrong {
    /// With this text.
    pub fn new(text: impl Into<String>) -> Wrong {
        Wrong(text.into())
    }
}

/// Reads an answer.
pub fn decode<M: Message + Default>(reply: Bytes) -> Result<M, Wrong> {
    M::decode(reply).map_err(|error| Wrong(format!("the answer cannot be read: {error}")))
}

/// The latest revision that one client knows of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub i64);

impl Seen {
    /// The answer to a write: its revision is later than all that the client knew.
    pub fn wrote(&mut self, header: Option<&ResponseHeader>) -> Result<i64, Wrong> {
        let revision = revision(header)?;
        if revision <= self.0 {
            return Err(Wrong::new("a write has the revision of an earlier answer"));
        }
        self.0 = revision;
        Ok(revision)
    }

    /// The answer to a linearizable read: it is not older than what the client knew.
    pub fn read(&mut self, header: Option<&ResponseHeader>) -> Result<i64, Wrong> {
        let revision = revision(header)?;
        if revision < self.0 {
            return Err(Wrong::new("a linearizable read is older than an earlier answer"));
        }
        self.0 = revision;
        Ok(revision)
    }
}

/// The revision of an answer that need not be new.
pub fn revision(header: Option<&ResponseHeader>) -> Result<i64, Wrong> {
    match header {
        Some(header) if 0 < header.revision => Ok(header.revision),
        Some(_) => Err(Wrong::new("an answer without a revision")),
        None => Err(Wrong::new("an answer without a header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(revision: i64) -> ResponseHeader {
        ResponseHeader { revision, ..ResponseHeader::default() }
    }

    #[test]
    fn a_client_never_goes_back_in_time() {
        let mut seen = Seen::default();
        assert_eq!(seen.wrote(Some(&header(5))), Ok(5));
        assert_eq!(seen.read(Some(&header(5))), Ok(5));
        assert!(seen.wrote(Some(&header(5))).is_err());
        assert!(seen.read(Some(&header(4))).is_err());
        assert!(seen.read(None).is_err());
        assert!(seen.read(Some(&header(0))).is_err());
        assert_eq!(seen, Seen(5));
    }
}
