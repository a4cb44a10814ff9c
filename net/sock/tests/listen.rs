//! Listening, and handing connections from core to core.

mod common;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use glommio::{LocalExecutorBuilder, Placement};
use ringleader_sock::{
    Acceptor, Address, Bound, CallHead, CallId, HttpReply, HttpRequest, HttpResponse, Hub, Options,
    Parcel, Peer, PortSharing, Route, Seats, Server, Service,
};
use wire::{Code, Status};

/// Tells which core it is on, and who asked.
struct Named {
    name: &'static str,
    asked: RefCell<Vec<Peer>>,
}

impl Service for Named {
    fn route(&self, _: &str) -> Route {
        Route::Refused(Status::new(Code::Unimplemented, "no gRPC here"))
    }
    fn unary(&self, _: CallId, _: u16, _: CallHead, _: Bytes) {}
    fn open(&self, _: CallId, _: u16, _: CallHead) {}
    fn message(&self, _: CallId, _: Bytes) {}
    fn half_closed(&self, _: CallId) {}
    fn gone(&self, _: CallId) {}
    fn drained(&self, _: CallId) {}
    fn http(&self, request: HttpRequest, reply: HttpReply) {
        self.asked.borrow_mut().push(request.peer);
        let body = Bytes::from_static(self.name.as_bytes());
        let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
        reply.respond(HttpResponse { status, headers, body });
    }
}

fn named(name: &'static str) -> (Server, Rc<Named>) {
    let service = Rc::new(Named { name, asked: RefCell::default() });
    (Server::new(Hub::new(Options::as_etcd()), service.clone()), service)
}

/// Who has not asked when the stop begins may be hung up on.
async fn all_served(server: &Server, service: &Named, requests: usize) {
    while service.asked.borrow().len() < requests || server.connections() > 0 {
        glommio::timer::sleep(Duration::from_millis(2)).await;
    }
}

fn localhost() -> Bound {
    Bound::bind(&Address::Tcp(([127, 0, 0, 1], 0).into()), PortSharing::Exclusive).unwrap()
}

fn get(mut stream: impl Read + Write) -> String {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.rsplit("\r\n").next().unwrap().to_owned()
}

#[test]
fn a_taken_port_is_reported_in_gos_words() {
    let taken = localhost();
    let Address::Tcp(address) = *taken.address() else { panic!("TCP") };
    let error = Bound::bind(taken.address(), PortSharing::Exclusive).unwrap_err();
    assert_eq!(error.to_string(), format!("listen tcp {address}: bind: address already in use"));
    let far = Address::Tcp("192.0.2.1:2379".parse().unwrap());
    let error = Bound::bind(&far, PortSharing::Exclusive).unwrap_err();
    let text = "listen tcp 192.0.2.1:2379: bind: cannot assign requested address";
    assert_eq!(error.to_string(), text);
    let lost = Address::Unix("/nowhere/at/all.sock".into());
    let error = Bound::bind(&lost, PortSharing::Exclusive).unwrap_err();
    let text = "listen unix /nowhere/at/all.sock: bind: no such file or directory";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_port_is_free_again_as_soon_as_its_server_ends() {
    let bound = localhost();
    let address = bound.address().clone();
    drop(bound);
    for _ in 0..5 {
        drop(Bound::bind(&address, PortSharing::Exclusive).unwrap());
    }
    let first = Bound::bind(&address, PortSharing::Shared).unwrap();
    assert!(Bound::bind(&address, PortSharing::Shared).is_ok());
    drop(first);
}

#[test]
fn a_unix_socket_is_served_and_its_file_replaced() {
    let directory = std::env::temp_dir().join(format!("sock-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("localhost:2379");
    // A file that a server left behind.
    drop(Bound::bind(&Address::Unix(path.clone()), PortSharing::Exclusive).unwrap());
    let bound = Bound::bind(&Address::Unix(path.clone()), PortSharing::Exclusive).unwrap();
    let client = std::thread::spawn(move || get(UnixStream::connect(path).unwrap()));
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async {
        let (server, service) = named("unix");
        let acceptor = Acceptor::new(bound, Seats::new(10));
        server.adopt(acceptor.next().await);
        all_served(&server, &service, 1).await;
        assert_eq!(*service.asked.borrow(), [Peer::Unix]);
        server.stop(Duration::ZERO).await;
    });
    assert_eq!(client.join().unwrap(), "unix");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn connections_can_be_handed_to_another_core_and_keep_their_seat() {
    let bound = localhost();
    let Address::Tcp(address) = *bound.address() else { panic!("TCP") };
    let seats = Seats::new(10);
    let (give, take) = mpsc::channel::<Parcel>();
    let second = std::thread::spawn(move || {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
        executor.run(async move {
            let (server, service) = named("second");
            loop {
                match take.try_recv() {
                    Ok(parcel) => server.adopt(parcel.unpack()),
                    Err(mpsc::TryRecvError::Disconnected) => break,
                    Err(mpsc::TryRecvError::Empty) => {
                        glommio::timer::sleep(Duration::from_millis(2)).await;
                    }
                }
            }
            all_served(&server, &service, 3).await;
            server.stop(Duration::from_secs(5)).await;
        });
    });
    let clients = std::thread::spawn(move || {
        let connect = || TcpStream::connect(address).unwrap();
        let answers: Vec<_> = (0..6).map(|_| get(connect())).collect();
        answers
    });
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async {
        let (server, service) = named("first");
        let acceptor = Acceptor::new(bound, seats.clone());
        for n in 0..6 {
            let arrival = acceptor.next().await;
            if n % 2 == 0 {
                server.adopt(arrival);
            } else {
                give.send(arrival.pack().unwrap()).unwrap();
            }
        }
        drop(give);
        all_served(&server, &service, 3).await;
        server.stop(Duration::from_secs(5)).await;
    });
    second.join().unwrap();
    let answers = clients.join().unwrap();
    assert_eq!(answers, ["first", "second", "first", "second", "first", "second"]);
    assert_eq!(seats.taken(), 0);
}

#[test]
fn connections_inherit_the_options_of_their_listener() {
    // What `Bound` relies on: no system call per connection for these.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.set_tcp_nodelay(true).unwrap();
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(30));
    listener.set_tcp_keepalive(&keepalive).unwrap();
    listener.set_tcp_notsent_lowat(12_345).unwrap();
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _client = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    assert!(accepted.tcp_nodelay().unwrap());
    assert!(accepted.keepalive().unwrap());
    assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
    assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 12_345);
}
