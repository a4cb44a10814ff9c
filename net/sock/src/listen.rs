//! Owns listening sockets: binding them with Go's error texts, and accepting while there are seats.
//! Never speaks to a client. Invariant: a connection holds one seat from accept to close, on
//! whichever core it ends up.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use glommio::net::TcpStream;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::limits::{BACKLOG, FILES_RESERVED, NOTSENT_BYTES};
use crate::service::Peer;
use crate::sys;

/// How long to wait when there is no seat or no file descriptor left.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// How long a port that is in use is asked for again: the kernel tears down the rings of a killed
/// process in the background, and until then they hold its listening socket.
const BIND_PATIENCE: Duration = Duration::from_millis(500);

/// Between two such attempts.
const BIND_PAUSE: Duration = Duration::from_millis(10);

/// Keep-alive of TCP itself, as etcd's listeners ask for it.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP; names were resolved before.
    Tcp(SocketAddr),
    /// A unix socket; a socket file that is in the way is removed, as etcd does.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "tcp {address}"),
            Address::Unix(path) => write!(f, "unix {}", path.display()),
        }
    }
}

/// Who else may bind the same TCP port (`--socket-reuse-port`). The address of a server that died
/// lately may always be bound, as in Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSharing {
    /// Nobody.
    Exclusive,
    /// Whoever asks for it too.
    Shared,
}

/// Why we cannot listen. Prints as Go prints it:
/// `listen tcp 127.0.0.1:2379: bind: address already in use`.
#[derive(Debug)]
pub struct ListenError {
    /// Where.
    pub address: Address,
    /// The system call that failed.
    pub call: &'static str,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_ascii_lowercase());
        write!(f, "listen {}: {}: ", self.address, self.call)?;
        first.map_or(Ok(()), |first| write!(f, "{first}{}", letters.as_str()))
    }
}

impl std::error::Error for ListenError {}

/// A bound and listening socket, not yet on any core.
#[derive(Debug)]
pub struct Bound {
    fd: OwnedFd,
    address: Address,
}

impl Bound {
    /// Binds and listens. Blocks for up to half a second if the address is in use.
    pub fn bind(address: &Address, sharing: PortSharing) -> Result<Bound, ListenError> {
        let begun = std::time::Instant::now();
        loop {
            match Bound::bind_once(address, sharing) {
                Err(failed)
                    if failed.error.kind() == io::ErrorKind::AddrInUse
                        && begun.elapsed() < BIND_PATIENCE =>
                {
                    std::thread::sleep(BIND_PAUSE);
                }
                done => return done,
            }
        }
    }

    fn bind_once(address: &Address, sharing: PortSharing) -> Result<Bound, ListenError> {
        let failed = |call| {
            let address = address.clone();
            move |error| ListenError { address, call, error }
        };
        let (socket, name) = match address {
            Address::Tcp(ip) => {
                let socket = tcp(*ip, sharing).map_err(failed("socket"))?;
                (socket, SockAddr::from(*ip))
            }
            Address::Unix(path) => {
                remove_socket(path);
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None);
                let name = SockAddr::unix(path).map_err(failed("bind"))?;
                (socket.map_err(failed("socket"))?, name)
            }
        };
        socket.bind(&name).map_err(failed("bind"))?;
        socket.listen(BACKLOG).map_err(failed("listen"))?;
        let address = match address {
            // The port, if the kernel chose it.
            Address::Tcp(ip) => {
                let local = socket.local_addr().ok().and_then(|local| local.as_socket());
                Address::Tcp(local.unwrap_or(*ip))
            }
            Address::Unix(path) => Address::Unix(path.clone()),
        };
        Ok(Bound { fd: OwnedFd::from(socket), address })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// Connections inherit what their listener was told.
fn tcp(address: SocketAddr, sharing: PortSharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if sharing == PortSharing::Shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_notsent_lowat(NOTSENT_BYTES)?;
    Ok(socket)
}

fn remove_socket(path: &Path) {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket {
        // If it cannot be removed, bind says so.
        let _ = std::fs::remove_file(path);
    }
}

/// How many connections the process may hold. Cloned to every acceptor.
#[derive(Clone, Debug)]
pub struct Seats {
    taken: Arc<AtomicUsize>,
    most: usize,
}

impl Seats {
    /// At most so many.
    pub fn new(most: usize) -> Seats {
        assert!(most > 0);
        Seats { taken: Arc::default(), most }
    }

    /// What the limit on open files allows, less what the rest of the process needs (etcd).
    pub fn by_files() -> Seats {
        let most = sys::files_max().saturating_sub(FILES_RESERVED).max(1);
        Seats::new(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// Seats in use.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<SeatTicket> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let ticket = SeatTicket(self.taken.clone());
        (before < self.most).then_some(ticket)
    }
}

/// One seat; given back when dropped.
#[derive(Debug)]
pub(crate) struct SeatTicket(Arc<AtomicUsize>);

impl Drop for SeatTicket {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0);
    }
}

/// An accepted connection, on the core that accepted it.
#[derive(Debug)]
pub struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) peer: Peer,
    pub(crate) ticket: SeatTicket,
}

impl Arrival {
    /// Makes it fit to travel to another core.
    pub fn pack(self) -> io::Result<Parcel> {
        let fd = sys::duplicate(&self.stream)?;
        Ok(Parcel { fd, peer: self.peer, ticket: self.ticket })
    }
}

/// An accepted connection between cores.
#[derive(Debug)]
pub struct Parcel {
    fd: OwnedFd,
    peer: Peer,
    ticket: SeatTicket,
}

impl Parcel {
    /// Settles it on the core that runs this.
    pub fn unpack(self) -> Arrival {
        Arrival { stream: sys::stream(self.fd), peer: self.peer, ticket: self.ticket }
    }
}

/// Accepts connections on one core.
pub struct Acceptor {
    listener: glommio::net::TcpListener,
    address: Address,
    seats: Seats,
    delayed: Cell<u64>,
}

impl Acceptor {
    /// Takes a listening socket to the core that runs this.
    pub fn new(bound: Bound, seats: Seats) -> Acceptor {
        let Bound { fd, address } = bound;
        Acceptor { listener: sys::listener(fd), address, seats, delayed: Cell::new(0) }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How often a connection had to wait for a seat or a file descriptor.
    pub fn delayed(&self) -> u64 {
        self.delayed.get()
    }

    /// The next connection. Waits in the kernel's queue while there is no seat.
    pub async fn next(&self) -> Arrival {
        loop {
            let Some(ticket) = self.seats.take() else {
                self.pause().await;
                continue;
            };
            let Ok(accepted) = self.listener.shared_accept().await else {
                // The peer gave up, or no descriptor is left: both pass.
                self.pause().await;
                continue;
            };
            let stream = accepted.bind_to_executor();
            let peer = match &self.address {
                Address::Unix(_) => Peer::Unix,
                Address::Tcp(_) => match stream.peer_addr() {
                    Ok(peer) => Peer::Tcp(peer),
                    // Gone again.
                    Err(_) => continue,
                },
            };
            return Arrival { stream, peer, ticket };
        }
    }

    async fn pause(&self) {
        self.delayed.set(self.delayed.get() + 1);
        glommio::timer::sleep(FULL_PAUSE).await;
    }
}
