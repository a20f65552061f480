//! Client and listener against each other and against hostile peers.

use axum::body::Body;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use effects::SystemClock;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_link::serve::{
    Limits, Patience, PeerCredentials, Remote, bind_unix, serve_tls, serve_unix,
};
use http_link::tls::Identity;
use http_link::{Client, Connector, Error};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const MIB: usize = 1024 * 1024;

struct Server {
    folder: TempDir,
    port: u16,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(app: Router, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::default());
        let identity = Arc::new(Identity::load_or_make(folder.path(), &[], clock).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve_tls(listener, identity, app, limits, stopped).await.unwrap();
        });
        Self { folder, port, stop, task }
    }

    fn ca(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("ca.pem")).unwrap()
    }

    fn client(&self, way: Connector) -> Client {
        Client::new(&format!("https://localhost:{}", self.port), &self.ca(), way).unwrap()
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }
}

fn impatient() -> Limits {
    let short = Duration::from_millis(100);
    let transfer = Patience { grace: short, bytes_per_second: 1_000_000 };
    Limits { handshake: short, header: short, transfer, ..Limits::default() }
}

fn app() -> Router {
    let refuse = || async {
        let body = Json(json!({"error": "locked", "reason": "The area is closed."}));
        (StatusCode::LOCKED, [("retry-after", "7")], body)
    };
    Router::new()
        .route("/echo", post(|body: Body| async move { body.into_response() }))
        .route("/json", post(|Json(value): Json<Value>| async move { Json(json!({"got": value})) }))
        .route("/refused", get(refuse))
        .route("/plain", get(|| async { (StatusCode::BAD_GATEWAY, "no JSON here") }))
        .route(
            "/remote",
            get(|Extension(Remote(address)): Extension<Remote>| async move { address.to_string() }),
        )
        .route("/silent", get(|| async { std::future::pending::<()>().await }))
}

#[tokio::test]
async fn json_goes_there_and_back() {
    let server = Server::start(app(), Limits::default()).await;
    let client = server.client(Connector::Tcp);
    let answer: Value = client.post("/json").json(&json!([1])).send_json().await.unwrap();
    assert_eq!(answer, json!({"got": [1]}));
}

#[tokio::test]
async fn refusals_carry_status_word_and_sentence() {
    let server = Server::start(app(), Limits::default()).await;
    let client = server.client(Connector::Tcp);
    let Err(Error::Refused(refusal)) = client.get("/refused").send().await else {
        panic!("not refused")
    };
    assert_eq!((refusal.status, refusal.retry_after_s), (423, Some(7)));
    assert_eq!(refusal.to_string(), "The area is closed. (423 locked)");
    let Err(Error::Refused(refusal)) = client.get("/plain").send().await else {
        panic!("not refused")
    };
    assert_eq!(refusal.error, "bad_gateway");
}

#[tokio::test]
async fn connections_are_kept_and_a_stale_one_is_replaced() {
    let server =
        Server::start(app(), Limits { header: Duration::from_millis(50), ..Limits::default() })
            .await;
    let client = server.client(Connector::Tcp);
    let remote = async || client.get("/remote").send().await.unwrap().bytes(99).await.unwrap();
    assert_eq!(remote().await, remote().await);
    let first = remote().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_ne!(remote().await, first);
}

#[tokio::test]
async fn bodies_stream_in_both_directions() {
    let server = Server::start(app(), Limits::default()).await;
    let client = server.client(Connector::Tcp);
    let total = 64 * MIB;
    let drawn = Arc::new(AtomicUsize::new(0));
    let counter = drawn.clone();
    let pieces = stream::iter(0..total / 65536).map(move |at| {
        counter.fetch_add(65536, Ordering::SeqCst);
        Ok(Bytes::from(vec![at as u8; 65536]))
    });
    let answer = client.post("/echo").stream(Some(total as u64), pieces).send().await.unwrap();
    let mut back = answer.stream();
    let (mut seen, mut first) = (0, true);
    while let Some(piece) = back.try_next().await.unwrap() {
        if std::mem::take(&mut first) {
            assert!(drawn.load(Ordering::SeqCst) < 16 * MIB, "the body was buffered");
        }
        for (at, byte) in piece.iter().enumerate() {
            assert_eq!(*byte, ((seen + at) / 65536) as u8);
        }
        seen += piece.len();
    }
    assert_eq!(seen, total);
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_body_was_read_is_heard() {
    let refuse = || async { (StatusCode::UNAUTHORIZED, "") };
    let server = Server::start(Router::new().route("/", post(refuse)), Limits::default()).await;
    let client = server.client(Connector::Tcp);
    for size in [0, 100_000, 16 * MIB] {
        for _ in 0..5 {
            let pieces = stream::iter(0..size / 65536).map(|_| Ok(Bytes::from(vec![0; 65536])));
            let sent = client.post("/").stream(Some((size / 65536 * 65536) as u64), pieces);
            let refused = sent.send().await.err().unwrap();
            assert_eq!(refused.status(), Some(401), "{size}: {refused}");
        }
    }
}

#[tokio::test]
async fn an_answer_longer_than_asked_for_is_refused() {
    let server = Server::start(app(), Limits::default()).await;
    let client = server.client(Connector::Tcp);
    let answer = client.post("/echo").bytes(vec![0; 1001]).send().await.unwrap();
    assert!(matches!(answer.bytes(1000).await, Err(Error::TooLong { limit_bytes: 1000 })));
}

#[tokio::test]
async fn a_client_believes_its_own_authority_alone() {
    let (server, other) =
        (Server::start(app(), Limits::default()).await, tempfile::tempdir().unwrap());
    Identity::load_or_make(other.path(), &[], Arc::new(SystemClock::default())).unwrap();
    let strange = std::fs::read(other.path().join("ca.pem")).unwrap();
    let url = format!("https://localhost:{}", server.port);
    let client = Client::new(&url, &strange, Connector::Tcp).unwrap();
    let error = client.get("/remote").send().await.err().unwrap();
    assert!(
        matches!(&error, Error::Connect { reason, .. } if reason.contains("certificate")),
        "{error}"
    );
}

#[tokio::test]
async fn a_silent_server_runs_out_of_the_clients_patience() {
    let server = Server::start(app(), Limits::default()).await;
    let client = server.client(Connector::Tcp);
    let patience = Duration::from_millis(50);
    let refused = client.get("/silent").patience(patience).send().await;
    assert!(matches!(refused, Err(Error::Timeout { .. })));
}

#[tokio::test]
async fn nobody_listening_is_said_with_the_address() {
    let ca = {
        let folder = tempfile::tempdir().unwrap();
        Identity::load_or_make(folder.path(), &[], Arc::new(SystemClock::default())).unwrap();
        std::fs::read(folder.path().join("ca.pem")).unwrap()
    };
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(&format!("https://{free}"), &ca, Connector::Tcp).unwrap();
    let text = client.get("/").send().await.err().unwrap().to_string();
    assert!(text.contains(&free.to_string()) && text.contains("refused"), "{text}");
}

#[test]
fn refuses_addresses_that_are_not_https() {
    for url in ["http://localhost", "localhost:8443", "https://", "https://a@b", "https://a?b", ""]
    {
        let made = Client::new(url, b"", Connector::Tcp);
        assert!(matches!(made, Err(Error::Url(_))), "{url}");
    }
}

#[tokio::test]
async fn reaches_a_server_through_an_http_connect_proxy() {
    let server = Server::start(app(), Limits::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("radio.sock");
    let heads = proxy(&path, server.port);
    let client =
        Client::new("https://localhost:4433", &server.ca(), Connector::Proxy(path)).unwrap();
    let answer: Value = client.post("/json").json(&json!(1)).send_json().await.unwrap();
    assert_eq!(answer, json!({"got": 1}));
    let head = heads.await.unwrap();
    assert!(head.starts_with("CONNECT localhost:4433 HTTP/1.1\r\n"), "{head}");
}

/// A proxy that sends its one connection to `port`; gives the head that it read.
fn proxy(path: &Path, port: u16) -> JoinHandle<String> {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            copy_bidirectional(&mut client, &mut server).await
        });
        String::from_utf8(head).unwrap()
    })
}

#[tokio::test]
async fn a_relay_that_refuses_is_an_error_that_says_so() {
    let server = Server::start(app(), Limits::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("radio.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let _ = client.read(&mut [0; 4096]).await;
        client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let client = server.client(Connector::Proxy(path));
    let text = client.get("/remote").send().await.err().unwrap().to_string();
    assert!(text.contains("relay refused") && text.contains("403"), "{text}");
}

#[tokio::test]
async fn a_local_api_knows_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("api.sock");
    let listener = bind_unix(&path, 0o600).unwrap();
    let app = Router::new().route(
        "/me",
        get(|Extension(peer): Extension<PeerCredentials>| async move {
            Json(json!([peer.pid, peer.uid, peer.gid]))
        }),
    );
    tokio::spawn(serve_unix(listener, app, Limits::default(), std::future::pending()));
    let answer: Value = Client::unix(&path).get("/me").send_json().await.unwrap();
    use std::os::unix::fs::MetadataExt as _;
    let own = std::fs::metadata("/proc/self").unwrap();
    assert_eq!(answer, json!([std::process::id(), own.uid(), own.gid()]));
    assert!(bind_unix(&path, 0o600).is_err(), "two listeners on one socket");
}

#[tokio::test]
async fn a_socket_that_a_killed_process_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    drop(bind_unix(&path, 0o600).unwrap());
    assert!(path.exists());
    bind_unix(&path, 0o600).unwrap();
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_leave_room_for_others() {
    let limits = Limits { connections: 2, ..impatient() };
    let server = Server::start(app(), limits).await;
    let mut silent = [server.dial().await, server.dial().await];
    let client = server.client(Connector::Tcp);
    let answer: Value = client.post("/json").json(&json!(1)).send_json().await.unwrap();
    assert_eq!(answer, json!({"got": 1}));
    for silent in &mut silent {
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "still held");
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off() {
    let server = Server::start(app(), impatient()).await;
    let client = server.client(Connector::Tcp);
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok(Bytes::from_static(b" ")), ()))
    });
    let sent = client.post("/json").header("content-type", "application/json");
    let answer = tokio::time::timeout(Duration::from_secs(10), sent.stream(None, trickle).send());
    assert!(answer.await.expect("the trickle was never cut off").is_err());
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off() {
    let ended = Arc::new(AtomicUsize::new(0));
    struct Ended(Arc<AtomicUsize>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counter = ended.clone();
    let endless = move || {
        let guard = Ended(counter.clone());
        let pieces = stream::repeat_with(move || {
            let _held = &guard;
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 65536]))
        });
        async move { Body::from_stream(pieces) }
    };
    let server = Server::start(Router::new().route("/", get(endless)), impatient()).await;
    let _unread = server.client(Connector::Tcp).get("/").send().await.unwrap();
    for _ in 0..500 {
        if ended.load(Ordering::SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the answer is still held");
}

#[tokio::test]
async fn a_stop_lets_running_requests_end_and_closes_idle_connections() {
    let (started, mut begun) = tokio::sync::mpsc::channel(1);
    let slow = move || {
        let started = started.clone();
        async move {
            started.send(()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            "done"
        }
    };
    let app = app().route("/slow", get(slow));
    let server = Server::start(app, Limits::default()).await;
    let client = server.client(Connector::Tcp);
    let idle = server.client(Connector::Tcp);
    idle.get("/remote").send().await.unwrap().bytes(99).await.unwrap();
    let running =
        tokio::spawn(async move { client.get("/slow").send().await.unwrap().bytes(9).await });
    begun.recv().await.unwrap();
    server.stop.send(()).unwrap();
    assert_eq!(running.await.unwrap().unwrap(), b"done");
    tokio::time::timeout(Duration::from_secs(4), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_a_handler_halfway() {
    let (begun, mut started) = tokio::sync::mpsc::channel(1);
    let (go_on, gone) = tokio::sync::watch::channel(false);
    let (done, mut ended) = tokio::sync::mpsc::channel(1);
    let change = move || {
        let (begun, mut gone, done) = (begun.clone(), gone.clone(), done.clone());
        async move {
            begun.send(()).await.unwrap();
            gone.wait_for(|gone| *gone).await.unwrap();
            done.send("both halves").await.unwrap();
        }
    };
    let app = app().route("/change", get(change));
    let server = Server::start(app, Limits::default()).await;
    let client = server.client(Connector::Tcp);
    let asking = tokio::spawn(async move { client.get("/change").send().await.map(drop) });
    started.recv().await.unwrap();
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    go_on.send(true).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(4), ended.recv()).await;
    assert_eq!(ended.unwrap(), Some("both halves"));
}

#[tokio::test]
async fn garbage_and_oversized_heads_do_no_harm() {
    let server = Server::start(app(), Limits::default()).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 70_000]] {
        let mut stream = server.dial().await;
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
    }
    let client = server.client(Connector::Tcp);
    let huge = "x".repeat(300_000);
    assert!(client.get("/remote").header("x-huge", &huge).send().await.is_err());
    client.get("/remote").send().await.unwrap();
}

/// The rest of a refused body is read: the answer is not lost with a reset, and the connection stays.
#[tokio::test]
async fn whoever_sends_too_much_is_told_and_may_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let app = Router::new().route("/refuses", post(|| async { StatusCode::PAYLOAD_TOO_LARGE }));
    let listener = bind_unix(&path, 0o600).unwrap();
    tokio::spawn(serve_unix(listener, app, Limits::default(), std::future::pending()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    for _ in 0..3 {
        let head = format!("POST /refuses HTTP/1.1\r\nhost: x\r\ncontent-length: {MIB}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 64];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 413"), "{:?}", &answer[..length]);
        stream.write_all(&vec![0; MIB]).await.unwrap();
        // What else the answer's head has.
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "the connection ended");
        }
    }
}
