//! Owns what one core of a run has: its connections, its clients, and its way to meet the others.
//! Invariant: client `n` uses connection `n` modulo their number, on whichever core that is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use measure::Latency;
use wire::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use wire::{Method, Status};

use super::shared::Shared;
use crate::net::{Dialer, Link, Target};

/// How often a core looks whether the others have come.
const MEETING_LOOK: Duration = Duration::from_micros(200);
/// Connections dialled at the same time by one core.
const DIALS: usize = 64;

/// One client.
#[derive(Clone)]
pub struct Client {
    /// Its number among all clients.
    pub number: usize,
    /// Its connection.
    pub link: Rc<Link>,
}

/// Name and password.
#[derive(Clone, Debug)]
pub struct User {
    /// Who.
    pub name: String,
    /// With what.
    pub password: String,
}

/// One core of a run.
pub struct Seat {
    /// Which.
    pub core: usize,
    /// Of how many.
    pub cores: usize,
    /// Its clients.
    pub clients: Vec<Client>,
    /// Clients of all cores.
    pub clients_all: usize,
    /// What all cores share.
    pub shared: Arc<Shared>,
    /// For more connections.
    pub dialer: Rc<Dialer>,
    /// Where to.
    pub targets: Arc<Vec<Target>>,
    /// As whom.
    pub user: Option<User>,
    /// For all dice.
    pub seed: u64,
    /// How long nothing may move while answers are due.
    pub patience: Duration,
    pub(super) late: RefCell<Latency>,
    pub(super) meetings: Cell<u64>,
}

impl Seat {
    /// Waits for all cores. Answers when the last came, in nanoseconds of the run; None if one of
    /// them never will.
    pub async fn meet(&self) -> Option<u64> {
        let meeting = self.meetings.get() + 1;
        self.meetings.set(meeting);
        self.shared.arrive(meeting);
        loop {
            if let Some(opened_ns) = self.shared.opened_ns(meeting) {
                return Some(opened_ns);
            }
            if self.shared.broken.load(std::sync::atomic::Ordering::Relaxed) {
                return None;
            }
            glommio::timer::sleep(MEETING_LOOK).await;
        }
    }

    /// Dice of client `number`, of one purpose.
    pub fn dice(&self, number: usize) -> u64 {
        self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(number as u64 + 1)
    }

    /// More connections, to the endpoints in turn; logged in.
    pub async fn dial(
        &self,
        dialer: &Rc<Dialer>,
        numbers: &[usize],
    ) -> Result<Vec<Rc<Link>>, String> {
        let mut links = Vec::with_capacity(numbers.len());
        for some in numbers.chunks(DIALS) {
            let dials: Vec<_> = some
                .iter()
                .map(|number| {
                    let (dialer, targets) = (dialer.clone(), self.targets.clone());
                    let at = number % targets.len();
                    glommio::spawn_local(async move { dialer.dial(&targets[at]).await })
                })
                .collect();
            for (dial, number) in dials.into_iter().zip(some) {
                let target = &self.targets[number % self.targets.len()];
                let link = dial.await.map_err(|status| told(target, &status))?;
                links.push(link);
            }
        }
        if let (Some(user), Some(first)) = (&self.user, links.first()) {
            let token =
                log_in(first, user).await.map_err(|status| told(&self.targets[0], &status))?;
            for link in &links {
                link.set_token(&token).map_err(|status| told(&self.targets[0], &status))?;
            }
        }
        Ok(links)
    }
}

fn told(target: &Target, status: &Status) -> String {
    format!("endpoint {}: {} ({})", target.authority, status.message, status.code.name())
}

async fn log_in(link: &Link, user: &User) -> Result<String, Status> {
    let request = AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
    let reply = link.unary(Method::Authenticate, wire::grpc::frame(&request)).await?;
    Ok(wire::grpc::decode::<AuthenticateResponse>(reply)?.token)
}
