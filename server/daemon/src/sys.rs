//! Owns the one setting of the allocator that nothing safe offers.
//! Never allocates. Invariant: set once, before the cores start.

/// Freed memory at the end of a thread's heap that goes back to the system only beyond this.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: i32 = 16 << 20;
/// A piece of memory from this size on is the system's own mapping, given back when it is freed.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: i32 = 4 << 20;

/// Lets threads keep what they have just freed. Every turn under load takes and frees buffers of
/// tens to hundreds of KiB, for batches of the log and notes to peers. By default glibc gives such
/// a buffer back and takes it again with the next turn: two system calls and new page faults.
pub fn keep_freed_memory() {
    // SAFETY: mallopt only sets figures of the allocator, and no other thread runs yet.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
    }
}
