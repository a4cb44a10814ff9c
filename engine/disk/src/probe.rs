//! Owns the question whether this machine can run the storage engine, and the remedy if not.
//! Never changes the machine. Invariant: what would make glommio end the process is found here
//! first and answered with what to change.

use std::fmt;
use std::io;

use crate::sys;

/// Locked memory that glommio needs for each executor.
const MEMLOCK_PER_CORE_BYTES: u64 = 512 << 10;

/// Why the engine cannot run here.
#[derive(Debug)]
pub enum Unfit {
    /// The kernel refused to make a ring.
    IoUring(io::Error),
    /// Too little memory may be locked.
    Memlock {
        /// The limit in force.
        limit_bytes: u64,
        /// What so many cores need.
        needed_bytes: u64,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::IoUring(error) => {
                write!(f, "io_uring is not available ({error}): {}", remedy(error))
            }
            Unfit::Memlock { limit_bytes, needed_bytes } => write!(
                f,
                "only {limit_bytes} bytes may be locked in memory and {needed_bytes} are needed: \
                 raise it with `ulimit -l {}`, LimitMEMLOCK=infinity in the systemd unit, or run \
                 with fewer --cores",
                needed_bytes.div_ceil(1024)
            ),
        }
    }
}

impl std::error::Error for Unfit {}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "the kernel is older than 5.8 or was built without io_uring; use a newer kernel"
        }
        Some(libc::EPERM) => {
            "a seccomp profile or the sysctl kernel.io_uring_disabled forbids it; in Docker and \
             Kubernetes use a seccomp profile that allows io_uring_setup, io_uring_enter and \
             io_uring_register (docs/operations.md), on the host set kernel.io_uring_disabled=0"
        }
        Some(libc::ENOMEM) => "too little memory may be locked; raise LimitMEMLOCK (`ulimit -l`)",
        Some(_) | None => "see the kernel's log",
    }
}

/// Checks what `cores` executors need.
pub fn check(cores: usize) -> Result<(), Unfit> {
    sys::io_uring_setup().map_err(Unfit::IoUring)?;
    let limit_bytes = sys::memlock_limit_bytes();
    let needed_bytes = MEMLOCK_PER_CORE_BYTES * cores as u64;
    if limit_bytes < needed_bytes {
        return Err(Unfit::Memlock { limit_bytes, needed_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_remedy() {
        let seccomp = Unfit::IoUring(io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(seccomp.contains("seccomp") && seccomp.contains("kernel.io_uring_disabled"));
        let memlock = Unfit::Memlock { limit_bytes: 65536, needed_bytes: 1 << 20 }.to_string();
        assert!(memlock.contains("LimitMEMLOCK") && memlock.contains("ulimit -l 1024"));
    }
}
