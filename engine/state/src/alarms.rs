//! Owns the alarms that are on, each of one member. Replicated; raised and cleared through the
//! log. Invariant: an alarm is on at most once for a member.

use std::collections::BTreeSet;

use wire::etcdserverpb::{AlarmMember, AlarmType};

/// The alarms that are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Member and type, as sent: etcd keeps types that it does not know.
    on: BTreeSet<(u64, i32)>,
}

impl Alarms {
    /// Those of a type, or all for [`AlarmType::None`] (0); by member, then type.
    pub fn list(&self, alarm: i32) -> Vec<AlarmMember> {
        let wanted = |kind: i32| alarm == AlarmType::None as i32 || alarm == kind;
        self.iter()
            .filter(|(_, kind)| wanted(*kind))
            .map(|(member_id, alarm)| AlarmMember { member_id, alarm })
            .collect()
    }

    /// All, by member, then type.
    pub fn iter(&self) -> impl Iterator<Item = (u64, i32)> + '_ {
        self.on.iter().copied()
    }

    /// Whether any member is out of space: nothing may grow the store.
    pub fn no_space(&self) -> bool {
        self.is_on(AlarmType::Nospace)
    }

    /// Whether any member's data is in doubt: nothing may be written.
    pub fn corrupt(&self) -> bool {
        self.is_on(AlarmType::Corrupt)
    }

    /// Whether this member has raised this alarm.
    pub fn has(&self, member: u64, alarm: AlarmType) -> bool {
        self.on.contains(&(member, alarm as i32))
    }

    /// True if it was off.
    pub(crate) fn raise(&mut self, member: u64, alarm: i32) -> bool {
        assert_ne!(alarm, AlarmType::None as i32);
        self.on.insert((member, alarm))
    }

    /// True if it was on.
    pub(crate) fn clear(&mut self, member: u64, alarm: i32) -> bool {
        self.on.remove(&(member, alarm))
    }

    fn is_on(&self, alarm: AlarmType) -> bool {
        self.on.iter().any(|(_, kind)| *kind == alarm as i32)
    }
}
