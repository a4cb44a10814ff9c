//! Owns one link: the stream to one peer on one lane. Dials, greets, writes, and dials again.
//! Never waits with anything but its own task. Invariant: payloads are taken while a connection is
//! up or the first attempt is under way, and thrown away when it ends.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use glommio::net::TcpStream;
use wire::peer::{ANSWER_BYTES, Answer, FrameWriter, Hello, Lane, Verdict};

use super::backoff::Backoff;
use super::knock::Knock;
use super::queue::Queue;
use super::{Inner, NotSent, PeerNews, PeerPlace, StreamError, StreamName, Way, place, within};
use crate::limits::{PEER_WRITE_ROUNDS_MAX, WRITE_BYTES};
use crate::sys;

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// An attempt is under way.
    Dialing,
    /// Payloads flow.
    Up,
    /// The last attempt failed, the next one waits.
    Waiting,
    /// The peer is gone from the list.
    Ended,
}

#[derive(Debug)]
pub(super) struct Link {
    peer: u64,
    lane: Lane,
    urls: RefCell<Vec<String>>,
    queue: RefCell<Queue>,
    standing: Cell<Standing>,
    knock: Knock,
}

impl Link {
    pub(super) fn new(place: &PeerPlace, lane: Lane, bytes_max: usize) -> Link {
        Link {
            peer: place.id,
            lane,
            urls: RefCell::new(place.urls.clone()),
            queue: RefCell::new(Queue::new(bytes_max)),
            standing: Cell::new(Standing::Dialing),
            knock: Knock::default(),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.get()
    }

    /// Other places than before are tried at once.
    pub(super) fn set_urls(&self, urls: &[String]) {
        if *self.urls.borrow() != urls {
            *self.urls.borrow_mut() = urls.to_vec();
            self.hurry();
        }
    }

    pub(super) fn send(&self, payload: Bytes) -> Result<(), NotSent> {
        match self.standing() {
            Standing::Dialing | Standing::Up => {}
            Standing::Waiting | Standing::Ended => return Err(NotSent::Down),
        }
        self.queue.borrow_mut().push(payload).map_err(|_| NotSent::Full)?;
        self.knock.knock();
        Ok(())
    }

    /// Ends a pause before the next attempt.
    pub(super) fn hurry(&self) {
        if self.standing() == Standing::Waiting {
            self.knock.knock();
        }
    }

    pub(super) fn end(&self) {
        self.standing.set(Standing::Ended);
        self.knock.knock();
    }

    fn name(&self) -> StreamName {
        StreamName { peer: self.peer, lane: self.lane, way: Way::Out }
    }

    /// Moves on, unless the link was ended meanwhile.
    fn stand(&self, standing: Standing) {
        if self.standing() != Standing::Ended {
            self.standing.set(standing);
        }
    }
}

/// The life of a link.
pub(super) async fn run(inner: Rc<Inner>, link: Rc<Link>) {
    // A new task runs at once, inside of whoever made it, who must not be told news there.
    futures_lite::future::yield_now().await;
    let options = inner.options;
    let mut backoff = Backoff::new(options.retry_min, options.retry_max);
    while link.standing() != Standing::Ended {
        link.stand(Standing::Dialing);
        match connect(&inner, &link).await {
            Ok(stream) if link.standing() != Standing::Ended => {
                let up = Instant::now();
                link.stand(Standing::Up);
                inner.sink.news(PeerNews::Up(link.name()));
                let error = pump(&inner, &link, stream).await;
                lose(&inner, &link);
                if options.retry_max <= up.elapsed() {
                    backoff.reset();
                }
                inner.sink.news(PeerNews::Down(link.name(), error));
            }
            Ok(_) | Err(StreamError::Ended) => lose(&inner, &link),
            Err(error) => {
                lose(&inner, &link);
                let is_removed = matches!(error, StreamError::Refused(Verdict::Removed));
                inner.sink.news(PeerNews::Unreached(link.name(), error));
                if is_removed {
                    inner.sink.news(PeerNews::ToldRemoved { by: link.peer });
                }
            }
        }
        rest(&inner, &link, &mut backoff).await;
    }
}

/// The pause before the next attempt; whoever knocks ends it.
async fn rest(inner: &Inner, link: &Link, backoff: &mut Backoff) {
    let pause = backoff.pause(&mut inner.dice.borrow_mut());
    // Payloads knocked too, and are gone.
    link.knock.forget();
    if link.standing() != Standing::Ended {
        let _ = within(pause, link.knock.wait()).await;
    }
}

/// Whatever waits is too late.
fn lose(inner: &Inner, link: &Link) {
    link.stand(Standing::Waiting);
    let lost = link.queue.borrow_mut().clear();
    if lost > 0 && inner.is_peer(link.peer) {
        inner.count(link.peer, |counts| counts.lost += lost as u64);
    }
}

/// A stream that was accepted, by the first place that does.
async fn connect(inner: &Inner, link: &Link) -> Result<TcpStream, StreamError> {
    let urls = link.urls.borrow().clone();
    let mut last = StreamError::Url("no URL".to_owned());
    for url in &urls {
        let addresses = match place::addresses(url).await {
            Ok(addresses) => addresses,
            Err(error) => {
                last = error;
                continue;
            }
        };
        for address in addresses {
            if link.standing() == Standing::Ended {
                return Err(StreamError::Ended);
            }
            match call(inner, link, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

async fn call(inner: &Inner, link: &Link, address: SocketAddr) -> Result<TcpStream, StreamError> {
    let options = &inner.options;
    let stream = TcpStream::connect_timeout(address, options.dial_timeout).await;
    let mut stream = stream.map_err(|error| StreamError::Dial(address, error.into()))?;
    sys::tune_peer(&stream, options.unacked_max).map_err(StreamError::Broken)?;
    let hello = Hello {
        lane: link.lane,
        cluster_id: options.cluster_id,
        from: options.member_id,
        to: link.peer,
        version: options.version,
        version_min: options.version_min,
    };
    let greet = async {
        stream.write_all(&hello.encode()).await?;
        let mut bytes = [0; ANSWER_BYTES];
        stream.read_exact(&mut bytes).await?;
        Ok::<_, io::Error>(bytes)
    };
    let answer = within(options.greet_timeout, greet).await.ok_or(StreamError::Silent)?;
    let answer = answer.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => StreamError::Closed,
        _ => StreamError::Broken(error),
    })?;
    let answer = Answer::decode(&answer).map_err(StreamError::Greeting)?;
    match answer.verdict {
        Verdict::Accepted => Ok(stream),
        Verdict::WrongCluster
        | Verdict::WrongMember
        | Verdict::Removed
        | Verdict::UnknownMember
        | Verdict::Incompatible => Err(StreamError::Refused(answer.verdict)),
    }
}

/// Output of one connection.
struct Pump {
    stream: TcpStream,
    frames: FrameWriter,
    out: Vec<u8>,
    out_at: usize,
}

/// Writes until the connection ends.
async fn pump(inner: &Inner, link: &Link, stream: TcpStream) -> StreamError {
    let frames = FrameWriter::new(link.lane);
    let mut pump = Pump { stream, frames, out: Vec::new(), out_at: 0 };
    poll_fn(|context| match pump.poll(inner, link, context) {
        Poll::Ready(Ok(never)) => match never {},
        Poll::Ready(Err(error)) => Poll::Ready(error),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// There is no good end of a pump.
enum Never {}

impl Pump {
    fn poll(
        &mut self,
        inner: &Inner,
        link: &Link,
        context: &mut Context<'_>,
    ) -> Poll<Result<Never, StreamError>> {
        // A knock during this poll finds the waker in place.
        while link.knock.poll(context) {}
        if link.standing() == Standing::Ended {
            return Poll::Ready(Err(StreamError::Ended));
        }
        self.check_open(context)?;
        for _ in 0..PEER_WRITE_ROUNDS_MAX {
            self.gather(&mut link.queue.borrow_mut());
            if self.out.is_empty() {
                return Poll::Pending;
            }
            let rest = &self.out[self.out_at..];
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(StreamError::Closed)),
                Poll::Ready(Ok(sent)) => {
                    self.out_at += sent;
                    inner.count(link.peer, |counts| counts.sent_bytes += sent as u64);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(StreamError::Broken(error))),
            }
        }
        // Much goes to this peer: others first, then on.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Frames for one write; a large payload makes a longer one.
    fn gather(&mut self, queue: &mut Queue) {
        if self.out_at < self.out.len() {
            return;
        }
        self.out.clear();
        self.out_at = 0;
        if WRITE_BYTES < self.out.capacity() {
            self.out = Vec::new();
        }
        while self.out.len() < WRITE_BYTES {
            let Some(payload) = queue.pop() else { return };
            self.out.extend_from_slice(&self.frames.head(&payload));
            self.out.extend_from_slice(&payload);
        }
    }

    /// The called member says nothing after its answer: bytes or an end are the end.
    fn check_open(&mut self, context: &mut Context<'_>) -> Result<(), StreamError> {
        match Pin::new(&mut self.stream).poll_read(context, &mut [0; 1]) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(0)) => Err(StreamError::Closed),
            Poll::Ready(Ok(_)) => Err(StreamError::Unexpected),
            Poll::Ready(Err(error)) => Err(StreamError::Broken(error)),
        }
    }
}
