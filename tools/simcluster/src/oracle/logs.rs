//! Owns the law of the logs: an entry that any member says is committed is durable on a quorum of
//! the voters of that place of the log, is the same in all logs, and the changes of members among
//! them were allowed when they were made.
//! Never asks a member: what members hand to their disks is all there is. Invariant: what was
//! once committed here stays.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::Instant;
use bytes::Bytes;
use consensus::Change;
use node::Reconfig;
use node::leader::LEARNER_READY_PERCENT;
use ringleader_sim::member::LogNews;
use state::{CommandBatch, Member, MemberChange, Request};
use wal::{Entry, EntryKind, Mark, Record};

use super::roster::Roster;
use crate::world::Wrong;

/// For so long after a change a leader may not have applied it, and counts by the members before:
/// longer than any process stands still.
const UNAPPLIED: Duration = Duration::from_secs(5);
/// Bytes of a change's context before the list's change: who asked, and its number.
const ASKER_BYTES: usize = 16;

/// What one member has of the log.
#[derive(Clone, Debug, Default)]
struct Copy {
    /// It holds the effects of everything up to here.
    base: u64,
    entries: BTreeMap<u64, Entry>,
}

impl Copy {
    fn take(&mut self, record: &Record) {
        match record {
            Record::Entry(entry) => {
                // What follows belongs to an older term.
                drop(self.entries.split_off(&entry.index));
                self.entries.insert(entry.index, entry.clone());
            }
            Record::Mark(mark) => *self = Copy { base: mark.index, entries: BTreeMap::new() },
            Record::HardState(_) | Record::Past(_) => {}
        }
    }

    fn holds(&self, index: u64, term: u64) -> bool {
        index <= self.base || self.entries.get(&index).is_some_and(|entry| entry.term == term)
    }

    fn last(&self) -> u64 {
        self.entries.last_key_value().map_or(self.base, |(index, _)| *index)
    }
}

#[derive(Debug, Default)]
struct Log {
    /// With everything that was handed to the disk.
    written: Copy,
    /// With what was done, in order.
    durable: Copy,
    queue: VecDeque<(u64, bool, Vec<Record>)>,
    /// What it said is committed, as far as that was looked at.
    claimed: u64,
}

/// The logs of all members.
pub struct Logs {
    by_member: BTreeMap<u64, Log>,
    committed: BTreeMap<u64, u64>,
    commit: u64,
    /// The members as of the last committed entry.
    pub roster: Roster,
    // Before the last change, and when that was.
    before: (Roster, Instant),
    // Changes that were seen in any log, by index and term.
    seen: BTreeMap<(u64, u64), MemberChange>,
    /// Changes of members that were committed.
    pub changes: u64,
    judging: Judging,
    // What was found to be wrong when nobody could be told.
    wrong: Option<Wrong>,
}

/// Whether there is a law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judging {
    Yes,
    /// Somebody was told to go on without the others.
    Suspended,
}

impl Logs {
    /// Of a cluster that these found. The founding itself is entry 1, which exists nowhere.
    pub fn new(founders: Vec<Member>, reconfig: Reconfig) -> Logs {
        let roster = Roster::founded_by(founders, reconfig);
        Logs {
            by_member: BTreeMap::new(),
            committed: BTreeMap::new(),
            commit: 1,
            before: (roster.clone(), Instant(0)),
            roster,
            seen: BTreeMap::new(),
            changes: 0,
            judging: Judging::Yes,
            wrong: None,
        }
    }

    /// A member starts with what it found on its disk. What its store holds was committed, though
    /// nobody may have written that down: any log that leads there tells what it was.
    pub fn found(&mut self, now: Instant, member: u64, base: Mark, entries: Vec<Entry>) {
        let commit = self.commit;
        let leads_there = |log: &&Log| {
            let last = log.written.entries.get(&base.index);
            log.written.base <= commit && last.is_some_and(|entry| entry.term == base.term)
        };
        if self.judging == Judging::Yes
            && commit < base.index
            && let Some(log) = self.by_member.values().find(leads_there)
        {
            let missing = log.written.entries.range(commit + 1..=base.index);
            let missing: Vec<Entry> = missing.map(|(_, entry)| entry.clone()).collect();
            self.wrong = self.fold(now, &missing).err().or(self.wrong.take());
        }
        let log = self.by_member.entry(member).or_default();
        let entries = entries.into_iter().map(|entry| (entry.index, entry)).collect();
        let copy = Copy { base: base.index, entries };
        *log = Log { written: copy.clone(), durable: copy, queue: VecDeque::new(), claimed: 0 };
    }

    /// Somebody goes on without a quorum from now on, as he was told.
    pub fn suspend(&mut self) {
        self.judging = Judging::Suspended;
    }

    /// Something became of a member's log.
    pub fn learn(&mut self, now: Instant, member: u64, news: LogNews) -> Result<(), Wrong> {
        if self.judging == Judging::Suspended {
            return Ok(());
        }
        self.wrong.take().map_or(Ok(()), Err)?;
        match news {
            LogNews::Written { ticket, records } => {
                for record in &records {
                    self.written(now, member, record)?;
                }
                let log = self.by_member.entry(member).or_default();
                log.queue.push_back((ticket, false, records));
            }
            LogNews::Durable { ticket } => {
                let log = self.by_member.entry(member).or_default();
                let batch = log.queue.iter_mut().find(|(queued, ..)| *queued == ticket);
                batch.expect("it was written").1 = true;
                while let Some((_, _, records)) = log.queue.pop_front_if(|(_, done, _)| *done) {
                    records.iter().for_each(|record| log.durable.take(record));
                }
            }
        }
        Ok(())
    }

    /// All is quiet: what the leader has in its log counts as committed, though nobody may have
    /// written that down.
    pub fn settle(&mut self, now: Instant, leader: u64) -> Result<(), Wrong> {
        let last = self.by_member.get(&leader).map_or(0, |log| log.written.last());
        self.claims(now, leader, last)
    }

    /// Whether anybody ever wanted to remove this member.
    pub fn may_be_removed(&self, member: u64) -> bool {
        let removal = MemberChange::Remove(member);
        self.roster.removed.contains(&member) || self.seen.values().any(|seen| *seen == removal)
    }

    /// Whether anybody ever wanted this learner to vote.
    pub fn may_be_promoted(&self, member: u64) -> bool {
        let promotion = MemberChange::Promote(member);
        self.seen.values().any(|seen| *seen == promotion)
    }

    /// Changes in any log that are not known to be committed.
    pub fn open_changes(&self) -> Vec<MemberChange> {
        let open = self.seen.iter().filter(|((index, _), _)| self.commit < *index);
        open.map(|(_, change)| change.clone()).collect()
    }

    fn written(&mut self, now: Instant, member: u64, record: &Record) -> Result<(), Wrong> {
        self.by_member.entry(member).or_default().written.take(record);
        match record {
            Record::Entry(entry) if entry.kind != EntryKind::Normal => {
                let key = (entry.index, entry.term);
                if !self.seen.contains_key(&key) {
                    let change = change_of(entry)?;
                    self.proposed(entry, &change)?;
                    self.seen.insert(key, change);
                }
                Ok(())
            }
            Record::HardState(state) => self.claims(now, member, state.commit),
            Record::Entry(_) | Record::Mark(_) | Record::Past(_) => Ok(()),
        }
    }

    /// A change is seen for the first time, which is when its leader writes it or a peer does.
    fn proposed(&self, entry: &Entry, change: &MemberChange) -> Result<(), Wrong> {
        let MemberChange::Promote(id) = change else { return Ok(()) };
        let holds = self.by_member.get(id).map_or(0, |log| log.durable.last());
        match (entry.index - 1) * LEARNER_READY_PERCENT <= holds * 100 {
            true => Ok(()),
            false => Err(format!(
                "members: learner {id} was promoted by entry {} and held entries up to {holds}",
                entry.index
            )),
        }
    }

    /// A member says that everything up to here is committed.
    fn claims(&mut self, now: Instant, member: u64, commit: u64) -> Result<(), Wrong> {
        let log = &self.by_member[&member];
        for index in log.claimed.max(log.written.base) + 1..=commit.min(self.commit) {
            let (term, own) = (self.committed.get(&index), log.written.entries.get(&index));
            if let (Some(term), Some(own)) = (term, own)
                && own.term != *term
            {
                return Err(format!(
                    "logs: entry {index} was committed in term {term}, and member {member} says \
                     that it is {own:?}"
                ));
            }
        }
        let (claimed, base) = (log.claimed.max(commit), log.written.base);
        // Of what it got as a whole store, others tell.
        if base <= self.commit && self.commit < commit {
            let news: Vec<Entry> = (self.commit + 1..=commit)
                .map(|index| log.written.entries.get(&index).cloned())
                .collect::<Option<Vec<Entry>>>()
                .ok_or_else(|| format!("logs: member {member} lacks what it says is committed"))?;
            self.commits(now, member, &news)?;
        }
        self.by_member.get_mut(&member).expect("it has a log").claimed = claimed;
        Ok(())
    }

    fn fold(&mut self, now: Instant, news: &[Entry]) -> Result<(), Wrong> {
        for entry in news {
            self.committed.insert(entry.index, entry.term);
            self.commit = entry.index;
            match entry.kind {
                EntryKind::Normal => self.describe(&entry.data)?,
                EntryKind::Change | EntryKind::ChangeV2 => {
                    self.before = (self.roster.clone(), now);
                    self.roster.make(&change_of(entry)?)?;
                    self.changes += 1;
                }
            }
        }
        Ok(())
    }

    fn commits(&mut self, now: Instant, member: u64, news: &[Entry]) -> Result<(), Wrong> {
        self.fold(now, news)?;
        let Some(last) = news.last() else { return Ok(()) };
        let holds = |id: u64| {
            self.by_member.get(&id).is_some_and(|log| log.durable.holds(last.index, last.term))
        };
        // A leader counts by what it has applied: the last change may not be.
        let lags = now.since(self.before.1) <= UNAPPLIED;
        if self.roster.is_quorum(holds) || lags && self.before.0.is_quorum(holds) {
            return Ok(());
        }
        let holders: Vec<u64> = self.by_member.keys().copied().filter(|id| holds(*id)).collect();
        Err(format!(
            "logs: member {member} says that entry {} of term {} is committed, which is durable on \
             {holders:?} of the voters {:?}",
            last.index,
            last.term,
            self.roster.voters()
        ))
    }

    /// Members say through the log that they have started.
    fn describe(&mut self, data: &Bytes) -> Result<(), Wrong> {
        if data.is_empty() {
            return Ok(());
        }
        let batch = CommandBatch::decode(data).map_err(|error| format!("logs: {error:?}"))?;
        for command in batch.commands {
            if let Ok(Request::MemberAttributes(own)) = command.request()
                && let Some(member) = self.roster.listed.get_mut(&own.id)
            {
                member.name = own.name;
                member.client_urls = own.client_urls;
            }
        }
        Ok(())
    }
}

fn change_of(entry: &Entry) -> Result<MemberChange, Wrong> {
    let bad = |what: &str| format!("logs: entry {} is no change of members: {what}", entry.index);
    let change = Change::decode(entry).map_err(|_| bad("its bytes"))?;
    let own = change.context.get(ASKER_BYTES..).ok_or_else(|| bad("its length"))?;
    MemberChange::decode(own).map_err(|_| bad("the list's change"))
}
