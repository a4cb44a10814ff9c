//! Owns the floor of the network's cost: one core that answers every Put with a header and does
//! nothing else. Not a server for anything but measuring.
//!
//! `echo PORT CPU` listens on 127.0.0.1:PORT, pinned to CPU, and answers within the call;
//! `echo PORT CPU later` answers from another task, as a server that batches its work does.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use glommio::{LocalExecutorBuilder, Placement};
use prost::Message;
use ringleader_sock::{
    Acceptor, Address, Bound, CallHead, CallId, HttpReply, HttpRequest, HttpResponse, Hub, Options,
    PortSharing, Route, Seats, Server, Service,
};
use wire::etcdserverpb::{PutRequest, PutResponse, ResponseHeader};
use wire::{Code, Method};

/// When the answer is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    Later,
}

struct Echo {
    hub: Hub,
    when: When,
    revision: Cell<i64>,
    waiting: RefCell<Vec<(CallId, Bytes)>>,
    answerer: RefCell<Option<Waker>>,
}

impl Echo {
    fn answer(&self, call: CallId, reply: Bytes) {
        match self.when {
            When::Now => self.hub.reply(call, reply),
            When::Later => {
                self.waiting.borrow_mut().push((call, reply));
                if let Some(answerer) = self.answerer.borrow_mut().take() {
                    answerer.wake();
                }
            }
        }
    }

    async fn answer_all(self: Rc<Echo>) {
        poll_fn::<(), _>(|context| {
            for (call, reply) in self.waiting.take() {
                self.hub.reply(call, reply);
            }
            *self.answerer.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Service for Echo {
    fn route(&self, path: &str) -> Route {
        match Method::from_path(path) {
            Ok(Method::Put) => Route::Unary(0),
            Ok(_) => Route::Stream(1),
            Err(status) => Route::Refused(status),
        }
    }

    fn unary(&self, call: CallId, _: u16, _: CallHead, message: Bytes) {
        match PutRequest::decode(message) {
            Ok(_) => {
                let revision = self.revision.get() + 1;
                self.revision.set(revision);
                let (cluster_id, member_id, raft_term) = (0x1234_5678_9abc, 0x9876_5432_1fed, 2);
                let header = ResponseHeader { cluster_id, member_id, revision, raft_term };
                let reply = PutResponse { header: Some(header), prev_kv: None };
                self.answer(call, Bytes::from(reply.encode_to_vec()));
            }
            Err(_) => self.hub.fail(call, Code::Internal, "grpc: error unmarshalling request"),
        }
    }

    fn open(&self, _: CallId, _: u16, _: CallHead) {}

    fn message(&self, call: CallId, message: Bytes) {
        let _ = self.hub.send(call, message);
    }

    fn half_closed(&self, call: CallId) {
        self.hub.finish(call, &wire::Status::OK);
    }

    fn gone(&self, _: CallId) {}

    fn drained(&self, _: CallId) {}

    fn http(&self, request: HttpRequest, reply: HttpReply) {
        let body = match request.path.as_str() {
            "/stats" => {
                let stats = self.hub.stats().each();
                stats.iter().map(|(name, value)| format!("{name} {value}\n")).collect()
            }
            _ => format!("{} {}\n", request.method, request.path),
        };
        let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
        reply.respond(HttpResponse { status, headers, body: Bytes::from(body) });
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).expect("PORT CPU");
    let cpu: usize = arguments.next().and_then(|cpu| cpu.parse().ok()).expect("PORT CPU");
    let when = match arguments.next().as_deref() {
        None => When::Now,
        Some("later") => When::Later,
        Some(other) => panic!("{other}: not `later`"),
    };
    let address = Address::Tcp(([127, 0, 0, 1], port).into());
    let bound = match Bound::bind(&address, PortSharing::Exclusive) {
        Ok(bound) => bound,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu)).name("echo");
    let executor = executor.spawn(move || async move {
        let hub = Hub::new(Options::as_etcd());
        let service = Rc::new(Echo {
            hub: hub.clone(),
            when,
            revision: Cell::new(1),
            waiting: RefCell::default(),
            answerer: RefCell::default(),
        });
        glommio::spawn_local(service.clone().answer_all()).detach();
        let server = Server::new(hub, service);
        println!("ready");
        server.serve(Acceptor::new(bound, Seats::by_files())).await;
    });
    executor.expect("an executor").join().expect("the executor ends");
}
