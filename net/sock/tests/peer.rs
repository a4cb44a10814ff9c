//! Owns the laws of streams between members, with real sockets on the loopback: two transports on
//! one executor, and callers that lie. Timeouts only bound a hang.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use glommio::task::JoinHandle;
use glommio::{LocalExecutorBuilder, Placement};
use http::{HeaderMap, StatusCode};
use ringleader_sock::peer::{
    BadPayload, NotSent, PeerNews, PeerOptions, PeerPlace, PeerSink, StreamError, Transport, Way,
};
use ringleader_sock::{
    Acceptor, Address, Bound, CallHead, CallId, HttpReply, HttpRequest, HttpResponse, Hub, Options,
    PortSharing, Route, Seats, Server, Service,
};
use wire::peer::{
    ANSWER_BYTES, Answer, BadFrame, FrameWriter, HELLO_BYTES, Hello, Lane, Verdict, Version,
};
use wire::{Code, Status};

const CLUSTER: u64 = 77;
const V: Version = Version { major: 3, minor: 7, patch: 1 };

fn options(member_id: u64) -> PeerOptions {
    PeerOptions {
        cluster_id: CLUSTER,
        member_id,
        version: V,
        version_min: Version { patch: 0, ..V },
        dial_timeout: Duration::from_secs(5),
        greet_timeout: Duration::from_secs(5),
        unacked_max: Duration::from_secs(5),
        retry_min: Duration::from_millis(2),
        retry_max: Duration::from_millis(20),
        prompt_bytes_max: 1 << 20,
        bulk_bytes_max: 2 << 20,
        seed: member_id,
    }
}

/// What one member was told, as text.
#[derive(Default)]
struct Diary {
    received: RefCell<Vec<(u64, Lane, Bytes)>>,
    news: RefCell<Vec<String>>,
}

impl PeerSink for Diary {
    fn received(&self, from: u64, lane: Lane, payload: Bytes) -> Result<(), BadPayload> {
        if &payload[..] == b"nonsense" {
            return Err(BadPayload);
        }
        self.received.borrow_mut().push((from, lane, payload));
        Ok(())
    }

    fn news(&self, news: PeerNews) {
        let text = match news {
            PeerNews::Up(stream) => {
                format!("up {:?} {:?} {}", stream.way, stream.lane, stream.peer)
            }
            PeerNews::Down(stream, error) => {
                format!("down {:?} {:?} {} {error}", stream.way, stream.lane, stream.peer)
            }
            PeerNews::Unreached(stream, error) => {
                assert_eq!(stream.way, Way::Out);
                format!("unreached {:?} {} {error}", stream.lane, stream.peer)
            }
            PeerNews::ToldRemoved { by } => format!("removed by {by}"),
            PeerNews::Refused { from, cluster_id, verdict, .. } => {
                format!("refused {from} of {cluster_id}: {verdict:?}")
            }
            PeerNews::Stranger { error, .. } => format!("stranger {error}"),
        };
        self.news.borrow_mut().push(text);
    }
}

impl Diary {
    async fn await_news(&self, begin: &str) {
        let what = || format!("{begin} not in {:?}", self.news.borrow());
        until(what, || self.news.borrow().iter().any(|text| text.starts_with(begin))).await;
    }

    async fn await_received(&self, count: usize) {
        let what = || format!("{} of {count} payloads", self.received.borrow().len());
        until(what, || count <= self.received.borrow().len()).await;
    }
}

async fn until(what: impl Fn() -> String, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{}", what());
        glommio::timer::sleep(Duration::from_millis(1)).await;
    }
}

/// One member: its streams and its peer port.
struct Node {
    transport: Transport,
    diary: Rc<Diary>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
    stop: Rc<RefCell<bool>>,
}

impl Node {
    fn start(options: PeerOptions) -> Node {
        let any = Address::Tcp(([127, 0, 0, 1], 0).into());
        Node::start_on(options, Bound::bind(&any, PortSharing::Exclusive).expect("a port"))
    }

    /// The executor closes the old listener while we wait.
    async fn start_again(options: PeerOptions, address: SocketAddr) -> Node {
        let mut bound = None;
        until(
            || format!("{address} stays in use"),
            || {
                bound = Bound::bind(&Address::Tcp(address), PortSharing::Exclusive).ok();
                bound.is_some()
            },
        )
        .await;
        Node::start_on(options, bound.expect("bound"))
    }

    fn start_on(options: PeerOptions, bound: Bound) -> Node {
        let Address::Tcp(address) = *bound.address() else { panic!("asked for TCP") };
        let diary = Rc::new(Diary::default());
        let transport = Transport::new(options, diary.clone());
        let server = Server::new(Hub::new(Options::as_etcd()), Rc::new(Pages));
        let stop = Rc::new(RefCell::new(false));
        let accepting = {
            let (transport, stop) = (transport.clone(), stop.clone());
            glommio::spawn_local(async move {
                let acceptor = Acceptor::new(bound, Seats::new(100));
                let accept = async {
                    loop {
                        transport.adopt(acceptor.next().await, server.clone());
                    }
                };
                let stopped = async {
                    while !*stop.borrow() {
                        glommio::timer::sleep(Duration::from_millis(1)).await;
                    }
                };
                futures_lite::future::or(accept, stopped).await;
            })
            .detach()
        };
        Node { transport, diary, address, accepting, stop }
    }

    fn place(&self, id: u64) -> PeerPlace {
        PeerPlace { id, urls: vec![format!("http://{}", self.address)] }
    }

    async fn stop(self) -> SocketAddr {
        self.transport.stop();
        *self.stop.borrow_mut() = true;
        self.accepting.await.expect("accepting ends well");
        self.address
    }

    fn send(&self, to: u64, payload: &'static [u8]) -> Result<(), NotSent> {
        self.transport.send(to, Lane::Prompt, Bytes::from_static(payload))
    }
}

/// What the peer port serves besides streams.
struct Pages;

impl Service for Pages {
    fn route(&self, _: &str) -> Route {
        Route::Refused(Status::new(Code::Unimplemented, "no gRPC"))
    }
    fn unary(&self, _: CallId, _: u16, _: CallHead, _: Bytes) {}
    fn open(&self, _: CallId, _: u16, _: CallHead) {}
    fn message(&self, _: CallId, _: Bytes) {}
    fn half_closed(&self, _: CallId) {}
    fn gone(&self, _: CallId) {}
    fn drained(&self, _: CallId) {}
    fn http(&self, request: HttpRequest, reply: HttpReply) {
        let body = Bytes::from(format!("page {}", request.path));
        reply.respond(HttpResponse { status: StatusCode::OK, headers: HeaderMap::new(), body });
    }
}

fn run(test: impl Future<Output = ()> + 'static) {
    LocalExecutorBuilder::new(Placement::Unbound).make().expect("an executor").run(test);
}

/// Members 1 and 2 that know each other.
fn pair() -> (Node, Node) {
    let (one, two) = (Node::start(options(1)), Node::start(options(2)));
    let places = [one.place(1), two.place(2)];
    one.transport.connect(&places, []);
    two.transport.connect(&places, []);
    (one, two)
}

async fn both_up(node: &Node, peer: u64) {
    let up = |lane| node.transport.is_up(peer, lane);
    until(|| format!("no stream to {peer}"), || up(Lane::Prompt) && up(Lane::Bulk)).await;
}

/// A caller by hand: says this hello and reads the answer.
async fn call(node: &Node, hello: Hello) -> (TcpStream, Answer) {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(&hello.encode()).await.unwrap();
    let mut bytes = [0; ANSWER_BYTES];
    stream.read_exact(&mut bytes).await.unwrap();
    (stream, Answer::decode(&bytes).unwrap())
}

fn hello(from: u64, to: u64) -> Hello {
    let options = options(from);
    let (version, version_min) = (options.version, options.version_min);
    Hello { lane: Lane::Prompt, cluster_id: CLUSTER, from, to, version, version_min }
}

/// Waits for the end of the stream; what comes before must be nothing.
async fn hung_up(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[test]
fn payloads_arrive_in_order_on_both_lanes_and_both_ways() {
    run(async {
        let (one, two) = pair();
        // The first ones may go out before the streams are up.
        for number in 0..500u32 {
            let payload = Bytes::from(vec![number as u8; number as usize * 7]);
            one.transport.send(2, Lane::Prompt, payload.clone()).unwrap();
            if number % 50 == 0 {
                two.transport.send(1, Lane::Bulk, payload).unwrap();
                glommio::timer::sleep(Duration::from_millis(1)).await;
            }
        }
        two.diary.await_received(500).await;
        one.diary.await_received(10).await;
        for (number, (from, lane, payload)) in two.diary.received.borrow().iter().enumerate() {
            assert_eq!((*from, *lane), (1, Lane::Prompt));
            assert_eq!(payload[..], vec![number as u8; number * 7]);
        }
        assert!(one.diary.received.borrow().iter().all(|got| (got.0, got.1) == (2, Lane::Bulk)));
        let counts = one.transport.counts()[0].1;
        let received = two.transport.counts()[0].1.received_bytes;
        assert_eq!((counts.sent_bytes, counts.lost), (received, 0));
    });
}

#[test]
fn the_largest_payload_of_each_lane_passes_and_a_longer_one_is_not_taken() {
    run(async {
        let (one, two) = pair();
        for lane in Lane::ALL {
            let payload = Bytes::from(vec![lane as u8; lane.frame_bytes_max() + 1]);
            assert_eq!(one.transport.send(2, lane, payload.clone()), Err(NotSent::TooLong));
            one.transport.send(2, lane, payload.slice(1..)).unwrap();
        }
        two.diary.await_received(2).await;
        for (_, lane, payload) in two.diary.received.borrow().iter() {
            assert_eq!(payload.len(), lane.frame_bytes_max());
            assert!(payload.iter().all(|byte| *byte == *lane as u8));
        }
        assert_eq!(one.transport.counts()[0].1.lost, 2);
    });
}

#[test]
fn a_member_that_comes_back_is_reached_again_and_both_are_told_of_the_gap() {
    run(async {
        let (one, two) = pair();
        both_up(&one, 2).await;
        let places = [one.place(1), two.place(2)];
        let address = two.stop().await;
        one.diary.await_news("down Out Prompt 2").await;
        one.diary.await_news("down In Prompt 2").await;
        let refused = format!("unreached Prompt 2 dial tcp {address}: connect: connection refused");
        one.diary.await_news(&refused).await;
        until(|| "still taken".into(), || one.send(2, b"lost") == Err(NotSent::Down)).await;
        let two = Node::start_again(options(2), address).await;
        two.transport.connect(&places, []);
        both_up(&one, 2).await;
        one.send(2, b"back").unwrap();
        two.diary.await_received(1).await;
        let expected = (1, Lane::Prompt, Bytes::from_static(b"back"));
        assert_eq!(two.diary.received.borrow()[..], [expected]);
    });
}

#[test]
fn a_full_queue_drops_and_says_so_and_the_other_peers_are_not_held_up() {
    run(async {
        let (one, two) = pair();
        both_up(&one, 2).await;
        // Member 3 takes its streams, and then reads nothing.
        let listener = glommio::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let urls = vec![format!("http://{}", listener.local_addr().unwrap())];
        let places = [one.place(1), two.place(2), PeerPlace { id: 3, urls }];
        one.transport.connect(&places, []);
        let mut stuck = Vec::new();
        for _ in Lane::ALL {
            let mut stream = listener.accept().await.unwrap();
            let mut bytes = [0; HELLO_BYTES];
            stream.read_exact(&mut bytes).await.unwrap();
            assert_eq!(Hello::decode(&bytes).unwrap().to, 3);
            let answer = Answer { verdict: Verdict::Accepted, cluster_id: CLUSTER, version: V };
            stream.write_all(&answer.encode()).await.unwrap();
            stuck.push(stream);
        }
        both_up(&one, 3).await;
        let large = Bytes::from(vec![1; 100_000]);
        let mut taken = 0;
        while one.transport.send(3, Lane::Prompt, large.clone()).is_ok() {
            taken += 1;
            assert!(taken < 1000, "a queue of 1 MiB takes 100 MB");
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(one.transport.send(3, Lane::Prompt, large), Err(NotSent::Full));
        assert_eq!(one.transport.send(3, Lane::Bulk, Bytes::from_static(b"b")), Ok(()));
        one.send(2, b"heartbeat").unwrap();
        two.diary.await_received(1).await;
        drop(stuck);
        one.diary.await_news("down Out Prompt 3").await;
        assert!(one.transport.counts()[1].1.lost > 2);
    });
}

#[test]
fn a_removed_member_is_told_so_by_whoever_it_calls() {
    run(async {
        let (one, two) = pair();
        both_up(&two, 1).await;
        one.transport.connect(&[one.place(1)], [2]);
        two.diary.await_news("down Out Prompt 1").await;
        two.diary.await_news("removed by 1").await;
        one.diary.await_news("refused 2 of 77: Removed").await;
        assert_eq!(one.send(2, b"x"), Err(NotSent::Unknown));
    });
}

#[test]
fn callers_of_other_clusters_members_and_versions_are_sent_away_with_the_reason() {
    run(async {
        let (one, _two) = pair();
        let old = Version { minor: 6, ..V };
        let new = Version { minor: 9, ..V };
        let cases = [
            (Hello { cluster_id: 5, ..hello(2, 1) }, Verdict::WrongCluster),
            (hello(2, 3), Verdict::WrongMember),
            (hello(9, 1), Verdict::UnknownMember),
            (hello(1, 1), Verdict::UnknownMember),
            (Hello { version: old, ..hello(2, 1) }, Verdict::Incompatible),
            (Hello { version_min: new, ..hello(2, 1) }, Verdict::Incompatible),
        ];
        for (hello, verdict) in cases {
            let (mut stream, answer) = call(&one, hello).await;
            assert_eq!(answer, Answer { verdict, cluster_id: CLUSTER, version: V });
            hung_up(&mut stream).await;
        }
        one.diary.await_news("refused 2 of 5: WrongCluster").await;
        let (_, answer) = call(&one, hello(2, 1)).await;
        assert_eq!(answer.verdict, Verdict::Accepted);
    });
}

#[test]
fn a_caller_that_comes_before_the_peers_are_known_waits_for_that() {
    run(async {
        let (one, two) = (Node::start(options(1)), Node::start(options(2)));
        one.transport.connect(&[two.place(2)], []);
        glommio::timer::sleep(Duration::from_millis(20)).await;
        two.transport.connect(&[one.place(1)], []);
        both_up(&one, 2).await;
        assert!(!one.diary.news.borrow().iter().any(|text| text.starts_with("unreached")));
    });
}

#[test]
fn a_link_to_another_cluster_says_why_it_is_not_up() {
    run(async {
        let (one, other) = (Node::start(options(1)), Node::start(options(2)));
        let stranger = Node::start(PeerOptions { cluster_id: 5, ..options(2) });
        stranger.transport.connect(&[one.place(1)], []);
        one.transport.connect(&[stranger.place(2)], []);
        one.diary.await_news("unreached Prompt 2 cluster ID mismatch").await;
        // The list was wrong: with the right place the stream comes up.
        other.transport.connect(&[one.place(1)], []);
        one.transport.connect(&[other.place(2)], []);
        both_up(&one, 2).await;
    });
}

#[test]
fn a_flipped_byte_closes_the_stream_and_nothing_of_it_arrives() {
    run(async {
        let (one, two) = pair();
        two.stop().await;
        let (mut stream, answer) = call(&one, hello(2, 1)).await;
        assert_eq!(answer.verdict, Verdict::Accepted);
        let mut writer = FrameWriter::new(Lane::Prompt);
        let mut bytes = [&writer.head(b"good")[..], b"good"].concat();
        bytes.extend_from_slice(&writer.head(b"bad"));
        bytes.extend_from_slice(b"baD");
        stream.write_all(&bytes).await.unwrap();
        hung_up(&mut stream).await;
        let error = StreamError::Frame(BadFrame::Checksum { number: 1 });
        one.diary.await_news(&format!("down In Prompt 2 {error}")).await;
        assert_eq!(one.diary.received.borrow().len(), 1);
        let (mut stream, _) = call(&one, hello(2, 1)).await;
        let head = FrameWriter::new(Lane::Prompt).head(b"nonsense");
        stream.write_all(&[&head[..], b"nonsense"].concat()).await.unwrap();
        hung_up(&mut stream).await;
        one.diary.await_news("down In Prompt 2 a payload without meaning").await;
    });
}

#[test]
fn the_newest_stream_of_a_peer_replaces_the_one_before() {
    run(async {
        let (one, two) = pair();
        two.stop().await;
        let (mut old, _) = call(&one, hello(2, 1)).await;
        let (mut new, _) = call(&one, hello(2, 1)).await;
        one.diary.await_news("down In Prompt 2 replaced").await;
        hung_up(&mut old).await;
        let head = FrameWriter::new(Lane::Prompt).head(b"new");
        new.write_all(&[&head[..], b"new"].concat()).await.unwrap();
        one.diary.await_received(1).await;
    });
}

#[test]
fn one_port_serves_pages_and_streams_and_hangs_up_on_the_rest() {
    run(async {
        let (one, _two) = pair();
        let mut stream = TcpStream::connect(one.address).await.unwrap();
        let request = b"GET /members HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("page /members"), "{text}");
        let mut stream = TcpStream::connect(one.address).await.unwrap();
        let mut damaged = hello(2, 1).encode();
        damaged[20] ^= 1;
        stream.write_all(&damaged).await.unwrap();
        hung_up(&mut stream).await;
        one.diary.await_news("stranger a greeting with a wrong checksum").await;
    });
}

#[test]
fn a_url_that_needs_tls_is_refused_aloud() {
    run(async {
        let one = Node::start(options(1));
        let urls = vec!["https://127.0.0.1:1".to_owned()];
        one.transport.connect(&[PeerPlace { id: 2, urls }], []);
        one.diary.await_news("unreached Prompt 2 https://127.0.0.1:1: not a URL").await;
    });
}
