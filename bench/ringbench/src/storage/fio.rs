//! Owns what `fio` says of the same disk, where it is installed.
//! Invariant: without fio nothing is said of it, and nothing fails.

use std::path::Path;
use std::process::Command;

/// The same writes as a flush of the log: 4 KiB, direct, each durable, one at a time.
const FIO_FLAGS: [&str; 10] = [
    "--name=ringbench",
    "--rw=write",
    "--bs=4k",
    "--size=64m",
    "--ioengine=sync",
    "--direct=1",
    "--sync=dsync",
    "--overwrite=1",
    "--runtime=5",
    "--output-format=json",
];

/// What fio makes of the disk, and our flushes a second over its writes a second.
pub(super) fn beside(dir: &Path, flushes: f64) -> Option<String> {
    let directory = format!("--directory={}", dir.display());
    let done = Command::new("fio").args(FIO_FLAGS).arg("--unlink=1").arg(directory).output();
    let writes = iops(&done.ok().filter(|done| done.status.success())?.stdout)?;
    Some(format!(
        "fio: {writes:.0} durable writes of 4 KiB a second, one at a time; the log made \
         {flushes:.0} flushes a second, a ratio of {:.2}",
        flushes / writes.max(1.0)
    ))
}

fn iops(output: &[u8]) -> Option<f64> {
    let found: serde_json::Value = serde_json::from_slice(output).ok()?;
    found["jobs"][0]["write"]["iops"].as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_second_are_read_from_fios_json() {
        let text = br#"{"fio version":"fio-3.33","jobs":[{"write":{"iops":10412.5}}]}"#;
        assert_eq!(iops(text), Some(10412.5));
        assert_eq!(iops(b"fio: nonsense"), None);
    }
}
