//! Owns accepting: which port opens when, and which core a connection goes to.
//! Never speaks to anybody. Invariant: peers may come from the first moment on, clients only when
//! the member serves.

use std::cell::RefCell;
use std::rc::Rc;

use sock::peer::Transport;
use sock::{Acceptor, Arrival, Bound, Seats, Server};

use crate::core::{Core, Letter};
use crate::news;
use crate::ports::Role;
use crate::service::Front;
use crate::wake::Bell;

/// What accepting needs to know.
pub struct Doors {
    /// Core 0.
    pub core: Rc<Core>,
    /// The bound addresses.
    pub bounds: Vec<(Role, Bound)>,
    /// Rings once the member serves.
    pub serving: Rc<Bell>,
    /// Cores that connections are dealt to in turn.
    pub cores: usize,
    /// Streams of peers.
    pub transport: Transport,
}

/// Opens the doors, each at its time.
pub async fn open(doors: Doors) {
    let Doors { core, bounds, serving, cores, transport } = doors;
    let seats = Seats::by_files();
    let (peers, others): (Vec<_>, Vec<_>) =
        bounds.into_iter().partition(|(role, _)| *role == Role::Peer);
    for (role, bound) in peers {
        let transport = transport.clone();
        let server = server(&core, role, &bound);
        let take = move |arrival| transport.adopt(arrival, server.clone());
        glommio::spawn_local(accept(Acceptor::new(bound, seats.clone()), take)).detach();
    }
    serving.wait().await;
    let next = Rc::new(RefCell::new(0));
    for (role, bound) in others {
        let server = server(&core, role, &bound);
        let (core, next) = (core.clone(), next.clone());
        let take = move |arrival| match role {
            Role::Client => {
                deal(&core, &server, next.replace_with(|next| (*next + 1) % cores), arrival)
            }
            Role::Peer | Role::Metrics => server.adopt(arrival),
        };
        glommio::spawn_local(accept(Acceptor::new(bound, seats.clone()), take)).detach();
    }
    news::ready();
}

fn server(core: &Rc<Core>, role: Role, bound: &Bound) -> Server {
    news::listening(role, &bound.address().to_string());
    Server::new(core.hub(), Rc::new(Front { core: core.clone(), role }))
}

async fn accept(acceptor: Acceptor, take: impl Fn(Arrival)) {
    loop {
        take(acceptor.next().await);
    }
}

fn deal(core: &Core, server: &Server, to: usize, arrival: Arrival) {
    match to {
        0 => server.adopt(arrival),
        to => match arrival.pack() {
            Ok(parcel) => core.put(to, Letter::Connection(parcel)),
            Err(error) => {
                journal::warn!("cannot hand a connection to another core",
                    "error" => error.to_string());
            }
        },
    }
}
