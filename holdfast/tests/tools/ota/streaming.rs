//! Updates that are read from a server: an honest one, other people's, and all that lie.

use super::{builds, keys, noise, ota, says};
use crate::data::program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder with two builds, keys, and signed updates with their indexes.
fn updates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    builds(at);
    keys(at);
    let signed = "--key @key.pem --cert @cert.pem --device kelp --timestamp 5";
    let make = format!("make @build1 -o @full.zip --index @full.index {signed} --compression none");
    says(&ota(at, &make), 0, "signed");
    let delta = "delta --from @build1 --to @build2 -o @delta.zip --index @delta.index";
    says(&ota(at, &format!("{delta} {signed}")), 0, "signed");
    folder
}

/// What a request asks for.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    /// First and last byte.
    range: Option<(usize, usize)>,
    /// How many requests with a range came before.
    number: usize,
}

/// An answer as it goes over the line; the connection is closed behind it.
type Answer = dyn Fn(&Asked, &[u8]) -> Vec<u8> + Send + Sync;

/// Answers a request for bytes of `file` as RFC 9110 has it.
fn honest(asked: &Asked, file: &[u8]) -> Vec<u8> {
    match asked.range {
        None => answer("200 OK", "", file),
        Some((first, last)) => {
            let place = format!("Content-Range: bytes {first}-{last}/{}\r\n", file.len());
            answer("206 Partial Content", &place, &file[first..=last])
        }
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Serves the files of a folder on a port of this machine; gives its address.
fn serve(folder: &Path, how: impl Fn(&Asked, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> String {
    let names = ["full.zip", "full.index", "delta.zip", "delta.index"];
    let files: BTreeMap<String, Vec<u8>> = names
        .iter()
        .map(|name| (format!("/{name}"), fs::read(folder.join(name)).unwrap()))
        .collect();
    let (files, how): (_, Arc<Answer>) = (Arc::new(files), Arc::new(how));
    let count = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (files, how, count) = (files.clone(), how.clone(), count.clone());
            std::thread::spawn(move || talk(stream.unwrap(), &files, &*how, &count));
        }
    });
    address
}

/// One request and its answer.
fn talk(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    how: &Answer,
    count: &AtomicUsize,
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let mut asked = Asked { path: first.split(' ').nth(1).unwrap().into(), range: None, number: 0 };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            let (first, last) = range.split_once('-').unwrap();
            asked.range = Some((first.parse().unwrap(), last.parse().unwrap()));
            asked.number = count.fetch_add(1, Ordering::SeqCst);
        }
    }
    let reply = match files.get(&asked.path) {
        Some(file) => how(&asked, file),
        None => answer("404 Not Found", "", b""),
    };
    let _ = stream.write_all(&reply);
}

#[track_caller]
fn same(folder: &Path, made: &str, due: &str) {
    for name in fs::read_dir(folder.join(due)).unwrap() {
        let name = name.unwrap().file_name();
        let read = |at: &str| fs::read(folder.join(at).join(&name)).unwrap();
        assert!(read(made) == read(due), "{made}/{}", name.display());
    }
}

const TRUST: &str = "--cert @cert.pem --device kelp --timestamp 1";

#[test]
fn s2_6_an_update_streams_from_a_server_and_its_index_too() {
    let folder = updates();
    let at = folder.path();
    let url = serve(at, honest);
    let index = format!("--index {url}/full.index");
    let verify = format!("verify {url}/full.zip {index} {TRUST}");
    let verdict = ota(at, &verify);
    for line in ["signed index", "every range of the index", "payload signature", "device rules"] {
        says(&verdict, 0, line);
    }
    says(&ota(at, &format!("apply {url}/full.zip {index} {TRUST} --target @a")), 0, "system.img");
    same(at, "a", "build1");
    let delta = "--index @delta.index --source @a --target @b";
    says(&ota(at, &format!("apply {url}/delta.zip {delta} {TRUST}")), 0, "system.img");
    same(at, "b", "build2");
    // The index of a file on this machine is looked at too.
    let mixed = ota(at, &format!("apply @full.zip --index {url}/delta.index {TRUST} --target @c"));
    says(&mixed, 1, "describes another file");
}

#[test]
fn s2_6_a_server_that_lies_is_refused_with_the_reason() {
    let folder = updates();
    let at = folder.path();
    let flipped = |asked: &Asked, file: &[u8]| {
        let mut reply = honest(asked, file);
        *reply.last_mut().unwrap() ^= 1;
        reply
    };
    // Asked for metadata it is honest; later it has another payload.
    let swapped = move |asked: &Asked, file: &[u8]| {
        if asked.number < 5 { honest(asked, file) } else { flipped(asked, file) }
    };
    let other_length = |asked: &Asked, file: &[u8]| honest(asked, &[file, b"more"].concat());
    let no_ranges =
        |asked: &Asked, file: &[u8]| honest(&Asked { range: None, ..asked.clone() }, file);
    let shifted = |asked: &Asked, file: &[u8]| {
        let range = asked.range.map(|(first, last)| (first - 1, last - 1));
        honest(&Asked { range, ..asked.clone() }, file)
    };
    let too_much = |asked: &Asked, file: &[u8]| {
        let (first, last) = asked.range.unwrap();
        let place = format!("Content-Range: bytes {first}-{last}/{}\r\n", file.len());
        answer("206 Partial Content", &place, &file[first..last + 2])
    };
    let redirects = |_: &Asked, _: &[u8]| {
        answer("302 Found", "Location: https://elsewhere.example/full.zip\r\n", b"")
    };
    let packed = |asked: &Asked, file: &[u8]| {
        let (first, last) = asked.range.unwrap();
        let headers = format!(
            "Content-Range: bytes {first}-{last}/{}\r\nContent-Encoding: gzip\r\n",
            file.len()
        );
        answer("206 Partial Content", &headers, &file[first..=last])
    };
    let shorter = |_: &Asked, _: &[u8]| answer("416 Range Not Satisfiable", "", b"");
    let busy = |_: &Asked, _: &[u8]| answer("503 Service Unavailable", "", b"");
    let silent = |_: &Asked, _: &[u8]| Vec::new();
    type Liar = Box<Answer>;
    let liars: [(Liar, i32, &str); 11] = [
        (Box::new(flipped), 1, "the server sent something else"),
        (Box::new(swapped), 1, "not the one that the manifest names"),
        (Box::new(other_length), 1, "as its index says"),
        (Box::new(no_ranges), 1, "ignores which range"),
        (Box::new(shifted), 1, "it sends another range"),
        (Box::new(too_much), 1, "more bytes than it says"),
        (Box::new(redirects), 1, "redirects to https://elsewhere.example/full.zip"),
        (Box::new(packed), 1, "in another form (gzip)"),
        (Box::new(shorter), 1, "shorter than its index says"),
        (Box::new(busy), 3, "503"),
        (Box::new(silent), 3, "goes on where it was"),
    ];
    for (liar, code, why) in liars {
        let url = serve(at, liar);
        let line = format!("apply {url}/full.zip --index @full.index {TRUST} --target @never");
        says(&ota(at, &line), code, why);
        assert!(!at.join("never/system.img").exists(), "{why}");
    }
    // Whoever verifies reads all of it.
    let url = serve(at, swapped);
    let verify = format!("verify {url}/full.zip --index @full.index {TRUST} --json");
    let verdict: Value = serde_json::from_slice(&ota(at, &verify).stdout).unwrap();
    assert_eq!(verdict["ok"], false);
}

#[test]
fn s2_6_a_broken_connection_is_continued_and_an_ended_run_goes_on() {
    let folder = updates();
    let at = folder.path();
    // No answer is whole.
    let halves = |asked: &Asked, file: &[u8]| {
        let mut reply = honest(asked, file);
        let (first, last) = asked.range.unwrap();
        reply.truncate(reply.len() - (last - first).div_ceil(2));
        reply
    };
    let url = serve(at, halves);
    let line = "--index @full.index --cert @cert.pem --target @a --json";
    says(&ota(at, &format!("apply {url}/full.zip {line}")), 0, "system.img");
    same(at, "a", "build1");

    // As an interruption leaves it: parts, and a checkpoint that says what is done.
    let zip = fs::read(at.join("full.zip")).unwrap();
    let start = zip.windows(4).position(|it| it == b"CrAU").unwrap();
    let told = ota(at, "info @full.zip --json");
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let size = told["payload"]["size"].as_u64().unwrap();
    let payload = payload::Payload::open(&zip[start..], size).unwrap();
    for name in ["system", "boot"] {
        let image = at.join("a").join(format!("{name}.img"));
        fs::rename(&image, image.with_added_extension("part")).unwrap();
    }
    fs::write(at.join("a/.ota-checkpoint"), payload::Checkpoint::new(&payload, 1).encode())
        .unwrap();
    let url = serve(at, honest);
    let again = ota(at, &format!("apply {url}/full.zip {line}"));
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["resumed_at"], 1);
    same(at, "a", "build1");
}

#[test]
fn s2_6_only_a_trusted_index_and_a_safe_way_count() {
    let folder = updates();
    let at = folder.path();
    let url = serve(at, honest);
    fs::create_dir(at.join("other")).unwrap();
    keys(&at.join("other"));
    let apply = |rest: &str| ota(at, &format!("apply {url}/full.zip --target @never {rest}"));
    says(&apply("--cert @cert.pem"), 2, "--index is missing");
    says(&apply("--cert @other/cert.pem --index @full.index"), 1, "signed the index");
    says(&apply("--cert @cert.pem --index @delta.index"), 1, "as its index says");
    says(&apply(&format!("--cert @cert.pem --index {url}/nothing")), 3, "404");
    fs::write(at.join("noise.index"), noise(1, 400)).unwrap();
    says(&apply("--cert @cert.pem --index @noise.index"), 1, "PKCS#7");
    let old = format!("--cert @cert.pem --index {url}/full.index --device kelp --timestamp 6");
    says(&apply(&old), 1, "older");
    let from =
        |url: &str| ota(at, &format!("apply {url} --index @full.index {TRUST} --target @never"));
    says(&from("http://192.0.2.1/full.zip"), 3, "use https");
    says(&from("https://localhost/full.zip"), 2, "--ca is missing");
    says(&from("https://localhost"), 2, "names a server");
    assert!(!at.join("never").exists(), "something was written");
}

/// Debian's busybox as a web server, behind socat, which does TLS where there is a certificate.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    fn start(socat: &Path, busybox: &Path, listen: &str, folder: &Path) -> (Self, u16) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = listen.replace("PORT", &format!("{port},bind=127.0.0.1,reuseaddr,fork"));
        let serve = format!("EXEC:{} httpd -i -h .", busybox.display());
        let mut command = Command::new(socat);
        command.args([&listen, &serve]).current_dir(folder).stderr(Stdio::null());
        let peer = Self(command.spawn().unwrap());
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        (peer, port)
    }
}

fn programs() -> Option<(PathBuf, PathBuf)> {
    Some((program("socat", "socat")?, program("busybox", "busybox-static")?))
}

#[test]
fn s2_6_updates_stream_from_other_peoples_servers_over_http_and_https() {
    let Some((socat, busybox)) = programs() else { return };
    let folder = updates();
    let at = folder.path();
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
                   -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=CA:FALSE \
                   -keyout server.key -out server.crt";
    let made = Command::new("openssl").args(request.split_whitespace()).current_dir(at).output();
    assert!(made.unwrap().status.success());
    let tls = "OPENSSL-LISTEN:PORT,cert=server.crt,key=server.key,verify=0";
    let (_plain, http) = Peer::start(&socat, &busybox, "TCP-LISTEN:PORT", at);
    let (_secure, https) = Peer::start(&socat, &busybox, tls, at);
    for (url, ca) in [
        (format!("http://localhost:{http}"), ""),
        (format!("https://localhost:{https}"), " --ca @server.crt"),
    ] {
        let index = format!("--index {url}/full.index");
        says(&ota(at, &format!("verify {url}/full.zip {index} {TRUST}{ca}")), 0, "every range");
        let apply = format!("apply {url}/full.zip {index} {TRUST}{ca} --target @a");
        says(&ota(at, &apply), 0, "system.img");
        same(at, "a", "build1");
        fs::remove_dir_all(at.join("a")).unwrap();
    }
    let other = format!("apply https://localhost:{https}/full.zip --index @full.index {TRUST}");
    says(&ota(at, &format!("{other} --ca @cert.pem --target @a")), 3, "localhost");
}
