//! Owns one connection: dialling it, again when it is lost, and calls over it.
//! Invariant: at most one dial of a link is under way; a lost connection ends all calls on it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use glommio::net::TcpStream;
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_TYPE, HeaderName, TE};
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use rustls::ClientConfig;
use wire::grpc::{Decoder, Encoding};
use wire::{Code, Method, Status};

use super::address::{Scheme, Target};
use super::bell::Bell;
use super::pipe::{Pipe, PipeEnd, Scratch};
use super::stream::{Incoming, Outgoing};
use super::tls::Tls;

/// Window of a stream whose client reads.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Window of a connection: never what holds a stream back.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// Between two attempts to dial a lost connection.
const REDIAL_PAUSE: Duration = Duration::from_millis(100);
/// Largest message taken, as etcd's clients take it.
const MESSAGE_BYTES_MAX: u32 = i32::MAX as u32;

/// What all connections of a core share.
pub struct Dialer {
    scratch: Scratch,
    /// What connections over TLS begin with; None where nobody speaks of TLS.
    trust: Option<Arc<ClientConfig>>,
    /// How long connecting may take; zero for as long as the kernel tries.
    patience: Duration,
    /// Window of a stream; small ones make watchers that do not read stall soon.
    stream_window_bytes: u32,
}

impl Dialer {
    /// For the core that runs this. Connecting may take so long; zero for as long as the kernel
    /// tries.
    pub fn new(patience: Duration, trust: Option<Arc<ClientConfig>>) -> Dialer {
        let scratch = Scratch::new();
        Dialer { scratch, trust, patience, stream_window_bytes: STREAM_WINDOW_BYTES }
    }

    /// The same, for connections whose streams take only so much before somebody reads.
    pub fn with_window(&self, stream_window_bytes: u32) -> Dialer {
        let (trust, patience) = (self.trust.clone(), self.patience);
        Dialer { scratch: Scratch::new(), trust, patience, stream_window_bytes }
    }

    /// Connects.
    pub async fn dial(self: &Rc<Dialer>, target: &Target) -> Result<Rc<Link>, Status> {
        let mut head = HeaderMap::with_capacity(4);
        head.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        head.insert(TE, HeaderValue::from_static("trailers"));
        let link = Rc::new(Link {
            dialer: self.clone(),
            address: target.address,
            authority: target.authority.clone(),
            trust: match target.scheme {
                Scheme::Http => None,
                Scheme::Https | Scheme::Unsaid => self.trust.clone(),
            },
            head: RefCell::new(head),
            uris: RefCell::default(),
            sender: RefCell::default(),
            dialing: Cell::new(false),
        });
        link.redial().await?;
        Ok(link)
    }
}

/// One connection to one endpoint.
pub struct Link {
    dialer: Rc<Dialer>,
    address: SocketAddr,
    authority: String,
    /// None in the clear.
    trust: Option<Arc<ClientConfig>>,
    head: RefCell<HeaderMap>,
    /// Addresses of methods, made once.
    uris: RefCell<Vec<(Method, Uri)>>,
    sender: RefCell<Option<Sender>>,
    dialing: Cell<bool>,
}

/// The way into a connection, and whether it is over.
struct Sender {
    h2: SendRequest<Bytes>,
    is_over: Rc<Cell<bool>>,
}

impl Link {
    /// Sends this token with every call from now on.
    pub fn set_token(&self, token: &str) -> Result<(), Status> {
        let value = HeaderValue::from_str(token)
            .map_err(|_| unavailable("the server gave a token that cannot be sent"))?;
        self.head.borrow_mut().insert(HeaderName::from_static("token"), value);
        Ok(())
    }

    /// One request, one reply. Of a stream of replies, the first.
    pub async fn unary(&self, method: Method, frame: Bytes) -> Result<Bytes, Status> {
        let mut first = None;
        let take = |message| {
            first.get_or_insert(message);
        };
        self.replies(method, frame, take).await?;
        first.ok_or_else(|| Status::new(Code::Internal, "an answer without a message"))
    }

    /// One request, and every reply to it as it comes.
    pub async fn replies(
        &self,
        method: Method,
        frame: Bytes,
        mut take: impl FnMut(Bytes),
    ) -> Result<(), Status> {
        let (response, mut body) = self.begin(method).await?;
        body.send_data(frame, true).map_err(|error| lost(&error))?;
        let (head, mut body) = response.await.map_err(|error| lost(&error))?.into_parts();
        check_head(head.status, &head.headers)?;
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX, Encoding::Identity);
        while let Some(data) = poll_fn(|context| body.poll_data(context)).await {
            let data = data.map_err(|error| lost(&error))?;
            let _ = body.flow_control().release_capacity(data.len());
            decoder.push(data);
            while let Some(message) = decoder.next_message()? {
                take(message);
            }
        }
        check_end(&mut body, &head.headers).await
    }

    /// A stream of messages each way, begun with its first message: servers need not answer before.
    pub async fn stream(
        &self,
        method: Method,
        first: Bytes,
    ) -> Result<(Outgoing, Incoming), Status> {
        let (response, mut body) = self.begin(method).await?;
        body.send_data(first, false).map_err(|error| lost(&error))?;
        let (head, incoming) = response.await.map_err(|error| lost(&error))?.into_parts();
        check_head(head.status, &head.headers)?;
        let decoder = Decoder::new(MESSAGE_BYTES_MAX, Encoding::Identity);
        Ok((Outgoing::new(body), Incoming::new(incoming, decoder)))
    }

    async fn begin(&self, method: Method) -> Result<(ResponseFuture, SendStream<Bytes>), Status> {
        let mut sender = self.sender().await?;
        poll_fn(|context| sender.poll_ready(context)).await.map_err(|error| lost(&error))?;
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri(method)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.head.borrow().clone();
        sender.send_request(request, false).map_err(|error| lost(&error))
    }

    fn uri(&self, method: Method) -> Result<Uri, Status> {
        let mut uris = self.uris.borrow_mut();
        if let Some((_, uri)) = uris.iter().find(|(known, _)| *known == method) {
            return Ok(uri.clone());
        }
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        let text = format!("{scheme}://{}{}", self.authority, method.path());
        let uri: Uri = text
            .parse()
            .map_err(|_| Status::new(Code::InvalidArgument, "an endpoint that is no authority"))?;
        uris.push((method, uri.clone()));
        Ok(uri)
    }

    /// The connection, dialled again if it was lost.
    async fn sender(&self) -> Result<SendRequest<Bytes>, Status> {
        if let Some(sender) = self.live() {
            return Ok(sender);
        }
        if !self.dialing.replace(true) {
            let dialled = self.redial().await;
            if dialled.is_err() {
                // Whoever asks in a loop should not turn as fast as refusals come.
                glommio::timer::sleep(REDIAL_PAUSE).await;
            }
            self.dialing.set(false);
            dialled?;
        } else {
            glommio::timer::sleep(REDIAL_PAUSE).await;
        }
        self.live().ok_or_else(|| unavailable("the connection is lost"))
    }

    fn live(&self) -> Option<SendRequest<Bytes>> {
        let sender = self.sender.borrow();
        sender.as_ref().filter(|sender| !sender.is_over.get()).map(|sender| sender.h2.clone())
    }

    async fn redial(&self) -> Result<(), Status> {
        let refused = |error: String| unavailable(format!("cannot connect: {error}"));
        let patience = self.dialer.patience;
        let stream = match patience.is_zero() {
            true => TcpStream::connect(self.address).await,
            false => TcpStream::connect_timeout(self.address, patience).await,
        };
        let stream = stream.map_err(|error| refused(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| refused(error.to_string()))?;
        let tls = self.trust.as_ref().map(|trust| Tls::new(trust, &self.authority));
        let tls = tls.transpose().map_err(refused)?;
        let mut pipe = Pipe::new(stream, self.dialer.scratch.clone(), tls);
        let shaken = poll_fn(|context| pipe.shake_hands(context)).await;
        shaken.map_err(|error| refused(format!("TLS: {error}")))?;
        let pipe = Rc::new(RefCell::new(pipe));
        let (h2, connection) = h2::client::Builder::new()
            .initial_window_size(self.dialer.stream_window_bytes)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(1 << 20)
            .handshake(PipeEnd(pipe.clone()))
            .await
            .map_err(|error| lost(&error))?;
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        let is_over = Rc::new(Cell::new(false));
        let driver = Driver { connection, pipe, bell, waker, is_over: is_over.clone() };
        glommio::spawn_local(driver).detach();
        *self.sender.borrow_mut() = Some(Sender { h2, is_over });
        Ok(())
    }
}

/// The task of one connection.
struct Driver {
    connection: Connection<PipeEnd, Bytes>,
    pipe: Rc<RefCell<Pipe>>,
    bell: Arc<Bell>,
    waker: Waker,
    is_over: Rc<Cell<bool>>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.bell.begin_turn(context.waker());
        let mut inner = Context::from_waker(&this.waker);
        loop {
            this.bell.take();
            let ended = Pin::new(&mut this.connection).poll(&mut inner).is_ready();
            let mut pipe = this.pipe.borrow_mut();
            let flushed = pipe.flush(&mut inner);
            if ended || matches!(flushed, Poll::Ready(Err(_))) {
                this.is_over.set(true);
                return Poll::Ready(());
            }
            let freed = flushed.is_ready() && pipe.take_starved();
            if !freed && !this.bell.take() {
                break;
            }
        }
        this.bell.end_turn();
        Poll::Pending
    }
}

fn unavailable(text: impl Into<std::borrow::Cow<'static, str>>) -> Status {
    Status::new(Code::Unavailable, text)
}

/// What h2 says, as a status: the table of gRPC over HTTP/2, section "Errors".
pub(super) fn lost(error: &h2::Error) -> Status {
    match error.reason() {
        Some(reason) if error.is_reset() => {
            let code = match reason {
                Reason::REFUSED_STREAM => Code::Unavailable,
                Reason::CANCEL => Code::Canceled,
                Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
                Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
                _ => Code::Internal,
            };
            Status::new(code, format!("stream reset: {reason}"))
        }
        Some(_) | None => unavailable(format!("connection lost: {error}")),
    }
}

fn check_head(status: http::StatusCode, headers: &HeaderMap) -> Result<(), Status> {
    if status != http::StatusCode::OK {
        return Err(Status::new(Code::Unknown, format!("HTTP status {status}")));
    }
    match headers.get("grpc-status") {
        Some(_) => ended(headers),
        None => Ok(()),
    }
}

pub(super) async fn check_end(body: &mut RecvStream, head: &HeaderMap) -> Result<(), Status> {
    let trailers = poll_fn(|context| body.poll_trailers(context)).await;
    match trailers.map_err(|error| lost(&error))? {
        Some(trailers) => ended(&trailers),
        None => ended(head),
    }
}

/// Reads `grpc-status` and `grpc-message`.
fn ended(headers: &HeaderMap) -> Result<(), Status> {
    let number = headers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
    let code = match number {
        Some(0u8) => return Ok(()),
        Some(number) => Code::ALL.into_iter().find(|code| code.number() == number),
        None => None,
    };
    let text = headers.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
    Err(Status::new(code.unwrap_or(Code::Unknown), unescape(text)))
}

/// Undoes the percent-encoding of `grpc-message`.
fn unescape(text: &[u8]) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escaped = text.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        let byte = escaped.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (text[at], byte) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 3;
            }
            (byte, _) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_its_text() {
        let mut headers = HeaderMap::new();
        assert_eq!(ended(&headers).unwrap_err().code, Code::Unknown);
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(ended(&headers).is_ok());
        headers.insert("grpc-status", HeaderValue::from_static("11"));
        headers.insert("grpc-message", HeaderValue::from_static("a%20b%C3%A9 100%"));
        let status = ended(&headers).unwrap_err();
        assert_eq!((status.code, &*status.message), (Code::OutOfRange, "a b\u{e9} 100%"));
    }
}
