//! Owns the keys and values of the meta slice: how leases, alarms, members and the cluster version
//! are written there and read back. Touches no slice.
//! Invariant: one fact is one key; writing all facts of a state and reading them back gives that
//! state.
//!
//! ```text
//!   'a' member (8, BE)  type (4, BE)   -> format (1)                        an alarm that is on
//!   'c'                                -> format (1)  version text          cluster version
//!   'd'                                -> format (1)  version text          downgrade target
//!   'l' lease id (8, BE)               -> format (1)  ttl (8)  left (8)     a lease, in seconds
//!   'm' member id (8, BE)              -> format (1)  member (members.rs)   a member
//!   'r' member id (8, BE)              -> format (1)                        a removed member
//!   't' member id (8, BE)              -> format (1)  member (members.rs)   a member, by hearsay
//! ```
//! Attached keys are not written: each key names its lease.

use base::bytes_le::{Short, Take};
use bytes::{BufMut, Bytes, BytesMut};

use crate::leases::Granted;
use crate::members::{BadMember, Member};

/// The only format so far.
const FORMAT: u8 = 1;

/// One write to the meta slice; without a value the key goes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaChange {
    /// Never empty.
    pub key: Bytes,
    /// Never empty.
    pub value: Option<Bytes>,
}

/// One fact of the meta slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Alarm { member: u64, alarm: i32 },
    ClusterVersion(String),
    DowngradeTarget(String),
    Lease { id: i64, granted: Granted },
    Member(Member),
    Removed(u64),
    Told(Member),
}

/// A key or value of the meta slice that this version does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadMeta {
    /// No fact has such a key.
    Key,
    /// The value's format is newer than we are.
    Format {
        /// What was found.
        found: u8,
    },
    /// The value does not hold what its key promises.
    Value,
}

impl From<Short> for BadMeta {
    fn from(_: Short) -> BadMeta {
        BadMeta::Value
    }
}

impl From<BadMember> for BadMeta {
    fn from(_: BadMember) -> BadMeta {
        BadMeta::Value
    }
}

impl Fact {
    /// The write that makes it true.
    pub(crate) fn write(&self) -> MetaChange {
        let mut value = BytesMut::new();
        value.put_u8(FORMAT);
        match self {
            Fact::Alarm { .. } | Fact::Removed(_) => {}
            Fact::ClusterVersion(version) | Fact::DowngradeTarget(version) => {
                value.put_slice(version.as_bytes());
            }
            Fact::Lease { granted, .. } => {
                value.put_i64_le(granted.ttl_s);
                value.put_i64_le(granted.remaining_s);
            }
            Fact::Member(member) | Fact::Told(member) => member.put(&mut value),
        }
        MetaChange { key: self.key(), value: Some(value.freeze()) }
    }

    /// The write that makes it untrue.
    pub(crate) fn erase(&self) -> MetaChange {
        MetaChange { key: self.key(), value: None }
    }

    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Fact, BadMeta> {
        let (tag, name) = key.split_first().ok_or(BadMeta::Key)?;
        let mut from = Take::new(value);
        let found = from.u8()?;
        if found != FORMAT {
            return Err(BadMeta::Format { found });
        }
        let fact = match tag {
            b'a' => {
                let (member, alarm) = name.split_at_checked(8).ok_or(BadMeta::Key)?;
                let alarm = i32::from_be_bytes(alarm.try_into().map_err(|_| BadMeta::Key)?);
                Fact::Alarm { member: number(member)?, alarm }
            }
            b'c' if name.is_empty() => {
                let text = from.bytes(from.rest().len())?.to_vec();
                Fact::ClusterVersion(String::from_utf8(text).map_err(|_| BadMeta::Value)?)
            }
            b'd' if name.is_empty() => {
                let text = from.bytes(from.rest().len())?.to_vec();
                Fact::DowngradeTarget(String::from_utf8(text).map_err(|_| BadMeta::Value)?)
            }
            b'l' => {
                let granted = Granted { ttl_s: from.i64()?, remaining_s: from.i64()? };
                Fact::Lease { id: number(name)?.cast_signed(), granted }
            }
            b'm' => Fact::Member(Member::take(&mut from)?),
            b'r' => Fact::Removed(number(name)?),
            b't' => Fact::Told(Member::take(&mut from)?),
            _ => return Err(BadMeta::Key),
        };
        // The key says again what the value says; a difference means one of them is not ours.
        if fact.key() != key {
            return Err(BadMeta::Key);
        }
        if from.rest().is_empty() { Ok(fact) } else { Err(BadMeta::Value) }
    }

    fn key(&self) -> Bytes {
        let mut key = BytesMut::with_capacity(13);
        match self {
            Fact::Alarm { member, alarm } => {
                key.put_u8(b'a');
                key.put_u64(*member);
                key.put_i32(*alarm);
            }
            Fact::ClusterVersion(_) => key.put_u8(b'c'),
            Fact::DowngradeTarget(_) => key.put_u8(b'd'),
            Fact::Lease { id, .. } => {
                key.put_u8(b'l');
                key.put_u64(id.cast_unsigned());
            }
            Fact::Member(member) => {
                key.put_u8(b'm');
                key.put_u64(member.id);
            }
            Fact::Removed(id) => {
                key.put_u8(b'r');
                key.put_u64(*id);
            }
            Fact::Told(member) => {
                key.put_u8(b't');
                key.put_u64(member.id);
            }
        }
        key.freeze()
    }
}

fn number(name: &[u8]) -> Result<u64, BadMeta> {
    Ok(u64::from_be_bytes(name.try_into().map_err(|_| BadMeta::Key)?))
}

#[cfg(test)]
mod tests {
    use base::Prng;

    use super::*;
    use crate::members::MemberRole;

    fn member() -> Member {
        Member {
            id: 7,
            name: "n1".to_owned(),
            peer_urls: vec!["http://a:2380".to_owned()],
            client_urls: vec![],
            role: MemberRole::Learner,
        }
    }

    fn facts() -> Vec<Fact> {
        vec![
            Fact::Alarm { member: 3, alarm: 1 },
            Fact::ClusterVersion("3.7".to_owned()),
            Fact::DowngradeTarget("3.6.0".to_owned()),
            Fact::Lease { id: -5, granted: Granted { ttl_s: 60, remaining_s: 7 } },
            Fact::Member(member()),
            Fact::Removed(9),
            Fact::Told(member()),
        ]
    }

    #[test]
    fn a_fact_is_read_back_as_it_was_written() {
        for fact in facts() {
            let write = fact.write();
            let value = write.value.expect("a write has a value");
            assert_eq!(Fact::read(&write.key, &value), Ok(fact.clone()));
            assert_eq!(fact.erase(), MetaChange { key: write.key, value: None });
        }
    }

    #[test]
    fn the_bytes_of_a_lease_never_change() {
        let write = facts()[3].write();
        assert_eq!(write.key.as_ref(), b"l\xff\xff\xff\xff\xff\xff\xff\xfb");
        let value = [&[1][..], &60_i64.to_le_bytes(), &7_i64.to_le_bytes()].concat();
        assert_eq!(write.value, Some(Bytes::from(value)));
    }

    #[test]
    fn strange_bytes_are_an_error_and_never_a_panic() {
        let mut dice = Prng::from_seed(11);
        for fact in facts() {
            let write = fact.write();
            let value = write.value.expect("a write has a value");
            for cut in 0..value.len() {
                let short = Fact::read(&write.key, &value[..cut]);
                // A version text may be any length; all else must be whole.
                let text = matches!(fact, Fact::ClusterVersion(_) | Fact::DowngradeTarget(_));
                assert!(short.is_err() || text);
            }
            assert!(Fact::read(&write.key[..write.key.len() - 1], &value).is_err());
            assert_eq!(Fact::read(&write.key, &[2]), Err(BadMeta::Format { found: 2 }));
            for _ in 0..2000 {
                let mut value = value.to_vec();
                let at = dice.below(value.len() as u64) as usize;
                value[at] ^= 1 << dice.below(8);
                let _ = Fact::read(&write.key, &value);
            }
        }
    }
}
