//! Owns the few unsafe calls of the network: turning file descriptors into glommio's sockets.
//! Invariant: a descriptor has one owner, before and after.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use glommio::net::{TcpListener, TcpStream};

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

/// Most descriptors this process may have.
pub fn files_max() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local of the right type, which the call fills.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur,
        _ => 1024,
    }
}
