//! Owns what the kernel says of processes and of the machine.
//! Invariant: a process that is gone has no figures, and that is no error.

use std::fs;
use std::time::Duration;

use measure::outcome::Machine;

/// Ticks of a second in `/proc/PID/stat`: what Linux shows user space on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of all threads, in seconds.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what follows it does not.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// Resident memory.
pub fn memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// This process.
pub(super) fn own_cpu_seconds() -> f64 {
    cpu_seconds(std::process::id()).unwrap_or_default()
}

/// The machine that this process runs on.
pub fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
    let load = read("/proc/loadavg");
    Machine {
        kernel: format!("Linux {}", release.trim()),
        processor: model.trim().to_string(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        load_average: load.split(' ').next().and_then(|one| one.parse().ok()).unwrap_or_default(),
    }
}

/// CPU seconds and resident bytes out of a page of metrics.
pub(super) fn of_metrics(page: &str) -> Option<(f64, u64)> {
    let value = |name: &str| {
        let mut lines = page.lines().filter_map(|line| line.strip_prefix(name));
        lines.find_map(|rest| rest.strip_prefix(' ')?.trim().parse::<f64>().ok())
    };
    let cpu = value("process_cpu_seconds_total")?;
    Some((cpu, value("process_resident_memory_bytes")? as u64))
}

/// Asks `host:port` for a page; head and body of the answer, whatever its status.
pub fn http_page(authority: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    use std::net::{TcpStream, ToSocketAddrs};
    const WAIT: Duration = Duration::from_secs(1);
    const PAGE_BYTES_MAX: u64 = 16 << 20;
    let address = authority.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, WAIT).ok()?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut page = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut page).ok()?;
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_figures_and_one_that_is_gone_has_none() {
        assert!(cpu_seconds(std::process::id()).is_some());
        assert!(memory_bytes(std::process::id()).unwrap() > 1 << 20);
        assert_eq!(cpu_seconds(u32::MAX), None);
        assert_eq!(memory_bytes(u32::MAX), None);
    }

    #[test]
    fn a_page_of_metrics_is_read_by_whole_names() {
        let page = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 12.5\n\
                    process_resident_memory_bytes_max 7\nprocess_resident_memory_bytes 2.5e+07\n";
        assert_eq!(of_metrics(page), Some((12.5, 25_000_000)));
        assert_eq!(of_metrics("go_threads 7\n"), None);
    }
}
