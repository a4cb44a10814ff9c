//! Owns the making of one end of a cable: a TAP interface inside a named network namespace, whose
//! frames this process reads and writes. The only file here with `unsafe`.
//! Invariant: the process is back in the namespace in which it began.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The interface inside of every namespace.
const NAME: &[u8] = b"eth0";
/// Ethernet frames as they are, without a header of the driver's own.
const FLAGS: libc::c_short = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;

/// Makes the interface in the namespace of that name. Reads and writes of the file do not block.
/// It goes when the file is closed.
pub fn open_tap(namespace: &str) -> io::Result<File> {
    let own = File::open("/proc/thread-self/ns/net")?;
    let other = File::open(format!("/run/netns/{namespace}"))?;
    enter(&other)?;
    let made = make();
    enter(&own)?;
    made
}

fn enter(namespace: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn make() -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(NAME) {
        *to = *from as libc::c_char;
    }
    let ask = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: FLAGS },
    };
    // SAFETY: the descriptor is open, and the kernel reads and writes one `ifreq`, which `ask` is.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &ask) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}
