//! Owns the one system call that nothing safe offers: asking whether io_uring may be used.
//! Invariant: every block states its one claim.

use std::io;

/// Sets up the smallest ring and closes it again.
pub fn io_uring_setup() -> io::Result<()> {
    // The kernel's struct io_uring_params is 120 bytes; all zero asks for defaults.
    let mut params = [0u64; 15];
    // SAFETY: io_uring_setup reads and writes one io_uring_params, which `params` has room for.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1u32, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).expect("file descriptors fit an int");
    // SAFETY: `fd` was just returned by the kernel and nobody else knows it.
    unsafe { libc::close(fd) };
    Ok(())
}

/// The soft limit of locked memory in bytes; `u64::MAX` for none.
pub fn memlock_limit_bytes() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one rlimit, which `limit` is.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    assert_eq!(result, 0, "RLIMIT_MEMLOCK exists on every Linux");
    limit.rlim_cur
}
