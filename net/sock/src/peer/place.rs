//! Owns the way from a peer's URL to addresses. Names are resolved on a thread of their own, since
//! a lookup may take seconds and no executor may wait that long.
//! Invariant: an address that stands in the URL needs no thread.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

use super::StreamError;

/// How often the answer of a lookup is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// The addresses of a URL, at least one.
pub(super) async fn addresses(url: &str) -> Result<Vec<SocketAddr>, StreamError> {
    let Some(place) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
        return Err(StreamError::Url(url.to_owned()));
    };
    match place.parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => resolve(place).await,
    }
}

async fn resolve(place: &str) -> Result<Vec<SocketAddr>, StreamError> {
    let failed = |why: String| StreamError::Resolve(format!("lookup {place}: {why}"));
    let (answer, found) = mpsc::channel();
    let name = place.to_owned();
    let looking = std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        // Nobody listens any more if the peer was dropped meanwhile.
        let _ = answer.send(name.to_socket_addrs().map(Vec::from_iter));
    });
    looking.map_err(|error| failed(error.to_string()))?;
    loop {
        match found.try_recv() {
            Ok(Ok(addresses)) if addresses.is_empty() => {
                return Err(failed("no such host".to_owned()));
            }
            Ok(Ok(addresses)) => return Ok(addresses),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(TryRecvError::Empty) => glommio::timer::sleep(LOOK).await,
            Err(TryRecvError::Disconnected) => return Err(failed("the lookup died".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::LocalExecutorBuilder;

    fn found(url: &'static str) -> Result<Vec<SocketAddr>, String> {
        let executor = LocalExecutorBuilder::default().make().unwrap();
        executor.run(async move { addresses(url).await.map_err(|error| error.to_string()) })
    }

    #[test]
    fn a_url_is_an_address_or_a_name_and_nothing_else_is_dialled() {
        assert_eq!(found("http://127.0.0.1:2380"), Ok(vec!["127.0.0.1:2380".parse().unwrap()]));
        assert_eq!(found("http://[::1]:2380/"), Ok(vec!["[::1]:2380".parse().unwrap()]));
        let local = found("http://localhost:2380").unwrap();
        assert!(local.iter().all(|address| address.ip().is_loopback()), "{local:?}");
        for bad in ["https://127.0.0.1:2380", "unix:///tmp/x", "127.0.0.1:2380", ""] {
            let error = found(bad).unwrap_err();
            assert!(error.ends_with("not a URL that peers can be reached at"), "{error}");
        }
        assert!(found("http://no.such.host.invalid:1").unwrap_err().starts_with("lookup no.such"));
    }
}
