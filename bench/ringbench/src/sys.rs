//! Owns the few unsafe calls of this program: limits of the process and of a thread.
//! Invariant: each changes this process alone.

/// Raises the number of files that may be open as far as the process may, and answers it.
pub fn raise_files_max() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local of the right type, which the call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 1024;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: the pointer is to a local of the right type, which the call reads.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } {
        0 => raised.rlim_cur,
        _ => limit.rlim_cur,
    }
}

/// Asks the kernel to end this thread's sleeps when they are over, and not up to 50 us later.
pub fn wake_up_exactly() {
    const SLACK_NS: libc::c_ulong = 1;
    // SAFETY: this option takes one number and changes the calling thread alone.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS) };
}
