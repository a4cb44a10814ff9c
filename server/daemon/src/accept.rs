//! Owns accepting: which port opens when, and which core a connection goes to.
//! Never speaks to anybody. Invariant: peers may come from the first moment on, clients only when
//! the member serves.

use std::rc::Rc;

use sock::peer::Transport;
use sock::{Acceptor, Arrival, Bound, Parcel, Seats, Server};

use crate::core::Core;
use crate::letter::Letter;
use crate::news;
use crate::placement;
use crate::ports::Role;
use crate::service::Front;
use crate::wake::Bell;

/// What accepting needs to know.
pub struct Doors {
    /// Core 0.
    pub core: Rc<Core>,
    /// Its own network for clients.
    pub clients: Rc<Clients>,
    /// The bound addresses.
    pub bounds: Vec<(Role, Bound)>,
    /// Rings once the member serves.
    pub serving: Rc<Bell>,
    /// Streams of peers.
    pub transport: Transport,
}

/// One core's network for clients, one for each kind of client listener.
pub struct Clients {
    all: Server,
    grpc: Server,
    http: Server,
}

impl Clients {
    /// On the core that runs this.
    pub fn new(core: &Rc<Core>) -> Clients {
        Clients {
            all: server(core, Role::Client),
            grpc: server(core, Role::ClientGrpc),
            http: server(core, Role::ClientHttp),
        }
    }

    /// Serves a connection that another core accepted.
    pub fn adopt(&self, role: Role, parcel: Parcel) {
        self.of(role).adopt(parcel.unpack());
    }

    /// All of the core's network: its stop is the stop of all connections.
    pub fn all(&self) -> &Server {
        &self.all
    }

    fn of(&self, role: Role) -> &Server {
        match role {
            Role::Client => &self.all,
            Role::ClientGrpc => &self.grpc,
            Role::ClientHttp => &self.http,
            Role::Peer | Role::Metrics => unreachable!("their connections stay on core 0"),
        }
    }
}

/// Opens the doors, each at its time.
pub async fn open(doors: Doors) {
    let Doors { core, clients, bounds, serving, transport } = doors;
    let seats = Seats::by_files();
    let (peers, others): (Vec<_>, Vec<_>) =
        bounds.into_iter().partition(|(role, _)| *role == Role::Peer);
    for (role, bound) in peers {
        let transport = transport.clone();
        let server = server(&core, role);
        let take = move |arrival| transport.adopt(arrival, server.clone());
        listen(role, bound, &seats, take);
    }
    serving.wait().await;
    for (role, bound) in others {
        match role {
            Role::Client | Role::ClientGrpc | Role::ClientHttp => {
                let (core, clients) = (core.clone(), clients.clone());
                listen(role, bound, &seats, move |arrival| deal(&core, &clients, role, arrival));
            }
            Role::Metrics => {
                let server = server(&core, role);
                listen(role, bound, &seats, move |arrival| server.adopt(arrival));
            }
            Role::Peer => unreachable!("sorted out above"),
        }
    }
    news::ready();
}

fn server(core: &Rc<Core>, role: Role) -> Server {
    Server::new(core.hub(), Rc::new(Front { core: core.clone(), role }))
}

fn listen(role: Role, bound: Bound, seats: &Seats, take: impl Fn(Arrival) + 'static) {
    news::listening(role, &bound.address().to_string());
    let acceptor = Acceptor::new(bound, seats.clone());
    let accept = async move {
        loop {
            take(acceptor.next().await);
        }
    };
    glommio::spawn_local(accept).detach();
}

/// Gives a client's connection to the core that has most room for it.
fn deal(core: &Core, clients: &Clients, role: Role, arrival: Arrival) {
    let boards = &core.shared.boards;
    let loads: Vec<placement::Load> = boards.iter().map(placement::Board::read).collect();
    let to = placement::choose(&loads);
    boards[to].sent();
    match to {
        0 => clients.of(role).adopt(arrival),
        to => match arrival.pack() {
            Ok(parcel) => core.put(to, Letter::Connection(role, parcel)),
            Err(error) => {
                journal::warn!("cannot hand a connection to another core",
                    "error" => error.to_string());
            }
        },
    }
}
