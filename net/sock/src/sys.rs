//! Owns the few unsafe calls of the network: turning file descriptors into glommio's sockets, and
//! setting what glommio has no verb for.
//! Invariant: a descriptor has one owner, before and after.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use std::time::Duration;

use glommio::net::{TcpListener, TcpStream};
use socket2::{SockRef, TcpKeepalive};

use crate::limits::NOTSENT_BYTES;

/// Silence on a stream between members after which the kernel asks, and how often it asks.
const PEER_KEEPALIVE: Duration = Duration::from_secs(5);

/// A listening socket on this executor.
pub(crate) fn listener(fd: OwnedFd) -> TcpListener {
    // SAFETY: the descriptor is open and ours, and its ownership passes to the listener.
    unsafe { TcpListener::from_raw_fd(fd.into_raw_fd()) }
}

/// A connected socket on this executor, TCP or unix: glommio only receives and sends on it.
pub(crate) fn stream(fd: OwnedFd) -> TcpStream {
    // SAFETY: the descriptor is open and ours, and its ownership passes to the stream.
    unsafe { TcpStream::from_raw_fd(fd.into_raw_fd()) }
}

/// Another descriptor of the same connection, which may cross to another core.
pub(crate) fn duplicate(stream: &TcpStream) -> std::io::Result<OwnedFd> {
    // SAFETY: the stream is borrowed, so its descriptor stays open for the length of the call.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    fd.try_clone_to_owned()
}

/// Sets a stream between members: no delay, a silent end is noticed, what is not acknowledged for
/// `unacked_max` breaks it.
pub(crate) fn tune_peer(stream: &TcpStream, unacked_max: Duration) -> std::io::Result<()> {
    // SAFETY: the stream is borrowed, so its descriptor stays open for the length of the call.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let socket = SockRef::from(&fd);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(PEER_KEEPALIVE).with_interval(PEER_KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(unacked_max))?;
    socket.set_tcp_notsent_lowat(NOTSENT_BYTES)
}

/// Most descriptors this process may have.
pub fn files_max() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local of the right type, which the call fills.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur,
        _ => 1024,
    }
}
