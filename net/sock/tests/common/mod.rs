//! Owns the server that the tests talk to: one core, a service whose methods are named for what
//! they do, a diary of what the service was told. Never asserts anything itself.
#![allow(dead_code)] // Each test file uses its part.

pub mod client;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use glommio::{LocalExecutorBuilder, Placement};
use http::{HeaderMap, HeaderValue, StatusCode};
use ringleader_sock::{
    Acceptor, Address, Bound, CallHead, CallId, HttpReply, HttpRequest, HttpResponse, Hub,
    LeaderNeed, Options, PortSharing, Pressure, Route, Seats, Server, Service,
};
use wire::{Code, Status};

pub const ECHO: u16 = 1;
pub const HANG: u16 = 2;
pub const FAIL: u16 = 3;
pub const BIG: u16 = 4;
pub const PARTS: u16 = 5;
pub const HEAD: u16 = 6;
pub const CHAT: u16 = 7;
pub const FLOOD: u16 = 8;

/// What the service was told, in order.
pub type Diary = Arc<Mutex<Vec<String>>>;

/// How long anything may take that waits for the server: only a server that panicked or stands
/// still takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub diary: Diary,
    stop: mpsc::Sender<Duration>,
    core: Mutex<Option<CoreThread>>,
}

/// The server's thread. `ended` hangs up when it ends, however it ends.
struct CoreThread {
    thread: std::thread::JoinHandle<()>,
    ended: mpsc::Receiver<()>,
}

impl CoreThread {
    fn join(self) -> std::thread::Result<()> {
        let ended = self.ended.recv_timeout(PATIENCE);
        assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected), "the core does not end");
        self.thread.join()
    }
}

impl Running {
    /// A server with these options on a port of the kernel's choice.
    pub fn start(options: Options) -> Running {
        Running::start_with(options, Seats::new(1000))
    }

    pub fn start_with(options: Options, seats: Seats) -> Running {
        let address = Address::Tcp(([127, 0, 0, 1], 0).into());
        let bound = Bound::bind(&address, PortSharing::Exclusive).expect("a free port");
        let Address::Tcp(address) = *bound.address() else { panic!("asked for TCP") };
        let diary = Diary::default();
        let (stop, stopped) = mpsc::channel();
        let (running, ended) = mpsc::channel();
        let thread = {
            let diary = diary.clone();
            std::thread::spawn(move || {
                run(options, seats, bound, diary, &stopped);
                drop(running);
            })
        };
        Running { address, diary, stop, core: Mutex::new(Some(CoreThread { thread, ended })) }
    }

    /// Begins the orderly stop.
    pub fn stop(&self, grace: Duration) {
        self.stop.send(grace).expect("the server runs");
    }

    /// Waits for the end of the server.
    pub fn join(&self) {
        let core = self.core.lock().unwrap().take().expect("joined once");
        core.join().expect("no panic on the core");
    }

    /// Waits until the diary has an entry that begins like this.
    pub fn await_entry(&self, begin: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let diary = self.diary.lock().unwrap();
            if let Some(entry) = diary.iter().find(|entry| entry.starts_with(begin)) {
                return entry.clone();
            }
            assert!(Instant::now() < end, "{begin} not in {diary:?}");
            drop(diary);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One figure of the server's.
    pub fn stat(&self, name: &str) -> u64 {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /stats HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))[name.len() + 1..].parse().unwrap()
    }

    /// Waits until a figure is what it should be.
    pub fn await_stat(&self, name: &str, wanted: u64) {
        let end = Instant::now() + PATIENCE;
        while self.stat(name) != wanted {
            assert!(Instant::now() < end, "{name} is {} and not {wanted}", self.stat(name));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed already does not wait for a core that may stand still.
        if let (Some(core), false) = (self.core.lock().unwrap().take(), std::thread::panicking()) {
            let _ = self.stop.send(Duration::ZERO);
            core.join().expect("no panic on the core");
        }
    }
}

fn run(
    options: Options,
    seats: Seats,
    bound: Bound,
    diary: Diary,
    stopped: &mpsc::Receiver<Duration>,
) {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().expect("an executor");
    executor.run(async {
        let hub = Hub::new(options);
        let service = Rc::new(Scripted {
            hub: hub.clone(),
            diary,
            floods: RefCell::default(),
            streams: RefCell::default(),
            opened: Cell::new(0),
        });
        let server = Server::new(hub, service);
        let serving = glommio::spawn_local({
            let server = server.clone();
            async move { server.serve(Acceptor::new(bound, seats)).await }
        });
        let grace = loop {
            match stopped.try_recv() {
                Ok(grace) => break grace,
                Err(mpsc::TryRecvError::Disconnected) => break Duration::ZERO,
                Err(mpsc::TryRecvError::Empty) => {
                    glommio::timer::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        server.stop(grace).await;
        serving.await;
        assert_eq!(server.connections(), 0);
    });
}

/// A service whose answers are in the names of its methods.
struct Scripted {
    hub: Hub,
    diary: Diary,
    /// Bytes still to send.
    floods: RefCell<BTreeMap<CallId, usize>>,
    /// HTTP answers in progress: lines still to send.
    streams: RefCell<BTreeMap<CallId, (HttpReply, usize)>>,
    opened: Cell<u64>,
}

impl Scripted {
    fn note(&self, entry: String) {
        self.diary.lock().unwrap().push(entry);
    }

    fn flood(&self, call: CallId) {
        loop {
            let left = self.floods.borrow().get(&call).copied();
            let Some(left) = left else { return };
            if left == 0 {
                self.floods.borrow_mut().remove(&call);
                return self.hub.finish(call, &Status::OK);
            }
            let size = left.min(50_000);
            self.floods.borrow_mut().insert(call, left - size);
            match self.hub.send(call, Bytes::from(vec![7; size])) {
                Pressure::Room => {}
                Pressure::Full => {
                    let queued = self.hub.queued_bytes(call);
                    return self.note(format!("full {queued}"));
                }
                Pressure::Gone => return,
            }
        }
    }

    fn stream_lines(&self, call: CallId) {
        let Some((reply, mut left)) = self.streams.borrow_mut().remove(&call) else { return };
        while left > 0 {
            left -= 1;
            let line = Bytes::from(format!("line {left} {}\n", "x".repeat(1000)));
            match reply.send(line) {
                Pressure::Room => {}
                Pressure::Full => {
                    self.streams.borrow_mut().insert(call, (reply, left));
                    return;
                }
                Pressure::Gone => return,
            }
        }
        reply.end();
    }
}

impl Service for Scripted {
    fn route(&self, path: &str) -> Route {
        match path {
            "/t.T/Echo" => Route::Unary(ECHO),
            "/t.T/Hang" => Route::Unary(HANG),
            "/t.T/Fail" => Route::Unary(FAIL),
            "/t.T/Big" => Route::Unary(BIG),
            "/t.T/Parts" => Route::Unary(PARTS),
            "/t.T/Head" => Route::Unary(HEAD),
            "/t.T/Chat" => Route::Stream(CHAT),
            "/t.T/Flood" => Route::Stream(FLOOD),
            other => match wire::Method::from_path(other) {
                Ok(_) => Route::Refused(Status::new(Code::Unimplemented, "not in this test")),
                Err(status) => Route::Refused(status),
            },
        }
    }

    fn unary(&self, call: CallId, method: u16, head: CallHead, message: Bytes) {
        self.opened.set(self.opened.get() + 1);
        match method {
            ECHO => self.hub.reply(call, message),
            HANG => self.note(format!("hang {}", call.to_bits())),
            FAIL => self.hub.fail(call, Code::NotFound, "100% gone\n"),
            BIG => {
                let size = u32::from_be_bytes(message[..4].try_into().unwrap());
                self.hub.reply(call, Bytes::from(vec![9; size as usize]));
            }
            PARTS => {
                let _ = self.hub.begin(call, 10);
                let _ = self.hub.part(call, Bytes::from_static(b"01234"));
                let _ = self.hub.part(call, Bytes::from_static(b"56789"));
                self.hub.finish(call, &Status::OK);
            }
            HEAD => {
                let mut text = BytesMut::new();
                text.put_slice(head.token().unwrap_or(b"no token"));
                text.put_slice(match head.leader {
                    LeaderNeed::Required => b" leader ",
                    LeaderNeed::Any => b" any ",
                });
                text.put_slice(format!("{:?} ", head.timeout).as_bytes());
                text.put_slice(head.client_api_version().unwrap_or(b"no version"));
                self.hub.reply(call, text.freeze());
            }
            other => panic!("no unary method {other}"),
        }
    }

    fn open(&self, call: CallId, method: u16, _: CallHead) {
        self.note(format!("open {}", call.to_bits()));
        if method == FLOOD {
            self.floods.borrow_mut().insert(call, 0);
        }
    }

    fn message(&self, call: CallId, message: Bytes) {
        let is_flood = self.floods.borrow().contains_key(&call);
        if is_flood {
            let size = u32::from_be_bytes(message[..4].try_into().unwrap());
            self.floods.borrow_mut().insert(call, size as usize);
            self.flood(call);
        } else if &message[..] == b"bye" {
            self.hub.fail(call, Code::Unavailable, "bye");
        } else if let Pressure::Full = self.hub.send(call, message) {
            self.note("chat full".to_owned());
        }
    }

    fn half_closed(&self, call: CallId) {
        self.note(format!("half {}", call.to_bits()));
        if !self.floods.borrow().contains_key(&call) {
            self.hub.finish(call, &Status::OK);
        }
    }

    fn gone(&self, call: CallId) {
        self.note(format!("gone {}", call.to_bits()));
        self.floods.borrow_mut().remove(&call);
        self.streams.borrow_mut().remove(&call);
        // A late answer must be harmless.
        self.hub.fail(call, Code::Internal, "too late");
    }

    fn drained(&self, call: CallId) {
        self.note(format!("drained {}", call.to_bits()));
        self.flood(call);
        self.stream_lines(call);
    }

    fn http(&self, request: HttpRequest, mut reply: HttpReply) {
        let mut headers = HeaderMap::new();
        headers.insert("x-test", HeaderValue::from_static("yes"));
        let ok = |body: String| HttpResponse {
            status: StatusCode::OK,
            headers: headers.clone(),
            body: Bytes::from(body),
        };
        match request.path.as_str() {
            "/stats" => {
                let stats = self.hub.stats().each();
                reply.respond(ok(stats.iter().map(|(n, v)| format!("{n} {v}\n")).collect()));
            }
            "/echo" => reply.respond(HttpResponse {
                status: StatusCode::OK,
                headers: headers.clone(),
                body: request.body,
            }),
            "/drop" => drop(reply),
            "/cut" => {
                reply.begin(StatusCode::OK, headers.clone());
                let _ = reply.send(Bytes::from_static(b"half"));
            }
            "/nothing" => reply.respond(HttpResponse {
                status: StatusCode::NO_CONTENT,
                headers: headers.clone(),
                body: Bytes::new(),
            }),
            "/hang" => {
                self.note(format!("hang {}", reply.call().to_bits()));
                self.streams.borrow_mut().insert(reply.call(), (reply, 0));
            }
            "/lines" => {
                let call = reply.call();
                reply.begin(StatusCode::OK, headers.clone());
                let lines = request.query.parse().unwrap();
                self.streams.borrow_mut().insert(call, (reply, lines));
                self.stream_lines(call);
            }
            path => {
                let host = request.headers.get("host").map(|host| host.to_str().unwrap());
                let method = request.method.as_str();
                let body = request.body.len();
                reply.respond(ok(format!(
                    "{method} {path} {} {} {body}\n",
                    request.query,
                    host.unwrap_or("-")
                )));
            }
        }
    }
}

/// A message with its gRPC prefix.
pub fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    wire::grpc::put_prefix(&mut out, message.len());
    out.put_slice(message);
    out.freeze()
}
