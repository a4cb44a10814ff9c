//! Owns the figures of the process as the kernel tells them in `/proc/self`.
//! Keeps nothing. Invariant: what cannot be read is left out of the page, never guessed.

use std::fs;

use super::page::{Page, number};

/// Ticks of a second in `/proc`; every Linux that we run on shows 100 to programs.
const TICKS: f64 = 100.0;

/// Writes what the kernel says.
pub fn write(page: &mut Page) {
    if let Ok(fds) = fs::read_dir("/proc/self/fd") {
        // One of them is open only for this look.
        let open = fds.count().saturating_sub(1);
        page.gauge("process_open_fds", open);
        page.gauge("os_fd_used", open);
    }
    page.gauge("process_max_fds", sock::files_max());
    page.gauge("os_fd_limit", sock::files_max());
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return };
    let Some(stat) = parse(&stat) else { return };
    page.counter("process_cpu_seconds_total", number(stat.cpu_ticks / TICKS));
    page.gauge("process_virtual_memory_bytes", stat.virtual_bytes);
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", bytes);
    }
    if let Some(boot) = boot_s() {
        page.gauge("process_start_time_seconds", number(boot + stat.start_ticks / TICKS));
    }
}

/// What the page takes of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    virtual_bytes: u64,
}

fn parse(stat: &str) -> Option<Stat> {
    // The second field is the name in brackets and may hold anything; fields are counted from 1.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3);
    let ticks = |number: usize| field(number)?.parse::<f64>().ok();
    Some(Stat {
        cpu_ticks: ticks(14)? + ticks(15)?,
        start_ticks: ticks(22)?,
        virtual_bytes: field(23)?.parse().ok()?,
    })
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn boot_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        let text = "7 (a) b) S 1 1 1 0 -1 4194560 2 0 0 0 30 12 0 0 20 0 9 0 5000 7340032 800 1";
        let stat = Stat { cpu_ticks: 42.0, start_ticks: 5000.0, virtual_bytes: 7_340_032 };
        assert_eq!(parse(text), Some(stat));
    }
}
