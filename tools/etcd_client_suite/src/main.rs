//! Runs the public behaviours of the `etcd-client` crate against one server, each as a law of its
//! own:
//!
//! ```text
//! etcd-client-suite 127.0.0.1:2379 [--without=lock]
//! ```
//!
//! Never looks at what the server is: real etcd and Ringleader must both pass. Every law uses keys
//! under a prefix of its own, so the server may be in use. The last line is `N passed, N failed`.

mod kv;
mod lease;
mod maintenance;
mod session;
mod txn;
mod watch;

use etcd_client::{Client, Error};
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a law returns: nothing, or what it saw instead.
pub type Verdict = Result<(), Broken>;

/// A law that did not hold.
#[derive(Debug)]
pub struct Broken(String);

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken(error.to_string())
    }
}

/// What every law is given.
pub struct World {
    /// A connected client.
    pub client: Client,
    /// A prefix that nobody else uses, ending in `/`.
    pub prefix: String,
}

impl World {
    /// A key of this law.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The store's revision now.
    pub async fn revision(&mut self) -> Result<i64, Broken> {
        let reply = self.client.get(self.key("revision"), None).await?;
        reply.header().map(|header| header.revision()).ok_or(Broken("no header".to_owned()))
    }
}

/// Fails the law when the two differ, telling both.
#[macro_export]
macro_rules! same {
    ($left:expr, $right:expr) => {
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err($crate::broken(format!("line {}: {left:?}, should be {right:?}", line!())));
        }
    };
}

/// Makes the error of `same!`.
pub fn broken(text: String) -> Broken {
    Broken(text)
}

/// The code and text of a refused call; a call that succeeds breaks the law.
pub fn refusal<T>(result: Result<T, Error>) -> Result<(String, String), Broken> {
    match result {
        Ok(_) => Err(Broken("it was not refused".to_owned())),
        Err(Error::GRpcStatus(status)) => {
            Ok((format!("{:?}", status.code()), status.message().to_owned()))
        }
        Err(other) => Err(Broken(format!("not a status: {other}"))),
    }
}

type Law = fn(World) -> Pin<Box<dyn Future<Output = Verdict>>>;

/// Collects laws with their names.
#[macro_export]
macro_rules! laws {
    ($($name:ident),* $(,)?) => {
        /// The laws of this module, by name.
        pub const LAWS: &[(&str, $crate::LawFn)] =
            &[$((stringify!($name), |world| Box::pin($name(world)))),*];
    };
}

/// As `laws!` stores them.
pub type LawFn = Law;

const LAW_SECONDS_MAX: u64 = 30;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), without) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: etcd-client-suite HOST:PORT [--without=lock]");
        return ExitCode::from(2);
    };
    // Locks and elections may be left out, by name, for a server that does not have them.
    let session: &[(&str, LawFn)] = match without.as_deref() {
        None => session::LAWS,
        Some("--without=lock") => &[],
        Some(other) => {
            eprintln!("etcd-client-suite: cannot leave out '{other}'");
            return ExitCode::from(2);
        }
    };
    let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let groups = [kv::LAWS, txn::LAWS, watch::LAWS, lease::LAWS, maintenance::LAWS, session];
    let (mut passed, mut failed) = (0, 0);
    for (name, law) in groups.into_iter().flatten() {
        let prefix = format!("suite-{run}/{name}/");
        let verdict = match Client::connect([&endpoint], None).await {
            Ok(client) => {
                let law = law(World { client, prefix });
                let limit = Duration::from_secs(LAW_SECONDS_MAX);
                tokio::time::timeout(limit, law)
                    .await
                    .unwrap_or_else(|_| Err(Broken(format!("no end in {LAW_SECONDS_MAX} s"))))
            }
            Err(error) => Err(error.into()),
        };
        match verdict {
            Ok(()) => {
                passed += 1;
                println!("passed {name}");
            }
            Err(Broken(text)) => {
                failed += 1;
                println!("failed {name}: {text}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
