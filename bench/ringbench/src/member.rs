//! Owns a server that this program starts, and its end.
//! Invariant: it listens on ports that the kernel chose, and leaves neither process nor directory.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::http_page;

/// From its start until it serves.
const READY_WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// Lines of its log that are told if it does not start.
const LOG_LINES: usize = 5;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What it is called.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// Flags beside those of every member.
    pub flags: Vec<String>,
}

/// A running server.
#[derive(Debug)]
pub struct Member {
    /// What it is called.
    pub name: String,
    /// Where it serves.
    pub endpoint: String,
    child: Child,
    home: PathBuf,
}

impl Member {
    /// Starts it in a fresh directory below `dir` and waits until it serves.
    pub fn start(recipe: &Recipe, dir: &Path, cpus: Option<&str>) -> Result<Member, String> {
        let name = &recipe.name;
        let home = dir.join(format!("ringbench-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        let cannot = |what: &str, error: std::io::Error| format!("{name}: cannot {what}: {error}");
        fs::create_dir_all(&home)
            .map_err(|error| cannot(&format!("make {}", home.display()), error))?;
        let (client, peer) = (free_port()?, free_port()?);
        let (url, peer_url) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut command = match cpus {
            None => Command::new(&recipe.program),
            Some(cpus) => {
                let mut taskset = Command::new("taskset");
                taskset.arg("-c").arg(cpus).arg(&recipe.program);
                taskset
            }
        };
        let log = File::create(home.join("log")).map_err(|error| cannot("write a log", error))?;
        let also = log.try_clone().map_err(|error| cannot("write a log", error))?;
        command
            .arg(format!("--data-dir={}", home.join("data").display()))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg(format!("--listen-peer-urls={peer_url}"))
            .arg(format!("--initial-advertise-peer-urls={peer_url}"))
            .arg(format!("--initial-cluster=default={peer_url}"))
            .arg("--log-level=warn")
            .args(&recipe.flags)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also);
        let child = command
            .spawn()
            .map_err(|error| cannot(&format!("start {:?}", command.get_program()), error))?;
        let endpoint = format!("127.0.0.1:{client}");
        let mut member = Member { name: name.clone(), endpoint, child, home };
        member.await_ready()?;
        Ok(member)
    }

    /// Its process: taskset becomes the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn await_ready(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < READY_WAIT {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at once, {status}: {}", self.name, self.log_tail()));
            }
            let page = http_page(&self.endpoint, "/health").unwrap_or_default();
            if page.contains("\"health\":\"true\"") {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err(format!("{} does not serve after {READY_WAIT:?}: {}", self.name, self.log_tail()))
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself, and what it kept is thrown away.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// A port that nobody has. Somebody may take it before the server does: then that says so.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// The `etcd` of PATH.
pub fn find_etcd() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("etcd"));
    found
        .find(|program| program.is_file())
        .ok_or_else(|| "no etcd in PATH; name its program: --etcd PATH".to_string())
}
