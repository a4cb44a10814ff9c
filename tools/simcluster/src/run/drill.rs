//! Owns what is tried while nothing else is wrong: leadership moves when it should, and in time.
//! Never runs in the middle of trouble. Invariant: the time that is allowed is what is promised to
//! operators, on the world's clock.

use std::time::Duration;

use ringleader_sim::setup::ELECTION_TIMEOUT;
use wire::{Method, etcdserverpb as pb};

use super::Run;
use crate::plan::Drill;
use crate::world::Wrong;

/// A log is stuck for so long: until somebody else leads, and longer.
const STUCK: Duration = Duration::from_secs(4);

impl Run {
    /// Tries what the shape wants tried.
    pub(super) fn drill(&mut self) -> Result<(), Wrong> {
        let Some(drill) = self.world.shape.drill else { return Ok(()) };
        self.enter("a drill");
        let (_, leader) = self.world.leader;
        match drill {
            Drill::Leave => {
                self.world.stop(leader);
                self.others_lead(leader, ELECTION_TIMEOUT, "a leader that was told to stop")
            }
            Drill::Stuck => {
                self.world.stick(leader, STUCK);
                self.others_lead(leader, 2 * ELECTION_TIMEOUT, "a leader whose log is stuck")
            }
            Drill::Move => {
                let members = self.world.ids();
                let target_id = *self.dice.pick(&members);
                let request = pb::MoveLeaderRequest { target_id };
                self.ask::<_, pb::MoveLeaderResponse>(leader, Method::MoveLeader, &request)?;
                match self.world.leader.1 == target_id {
                    true => Ok(()),
                    false => {
                        Err(format!("leadership was moved to {target_id}: {:?}", self.world.leader))
                    }
                }
            }
        }
    }

    fn others_lead(&mut self, leader: u64, within: Duration, who: &str) -> Result<(), Wrong> {
        let before = self.world.leader;
        let until = self.world.now + within;
        while self.world.leader <= before || self.world.leader.1 == leader {
            self.step()?;
            if until < self.world.now {
                return Err(format!("leadership: {who} still leads after {within:?}: {leader}"));
            }
        }
        Ok(())
    }
}
