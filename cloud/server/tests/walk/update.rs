//! System updates over the real server: a maker's side, a device's side, and the page about them.

use crate::maker::Device;
use crate::person::{EMAIL, Link, PHONE, Person, code_of, enrol, fresh_challenge};
use crate::processes::Clouds;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use http_link::{Client, Error, Request};
use keyattest::VerifiedBootState;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use wire::update::{Answer, Offer, Reason, Release};

const PAGE: &str = "../../docs/update.md";

/// A bound device with a session.
struct Phone {
    device: Device,
    device_id: String,
    link: Link,
}

impl Phone {
    async fn bound(clouds: &Clouds, client: &Client, owner: &Person) -> Self {
        let device = Device::made("HF-0042-0011");
        enrol(clouds, client, &device).await;
        let chain = device.attest(&fresh_challenge(client).await);
        let device_id = owner.bind(chain).await.unwrap().device_id;
        let link = Link::open(client, &device_id, &device).await;
        Self { device, device_id, link }
    }

    async fn attests(&self, client: &Client, state: VerifiedBootState) {
        let chain = self.device.attest_as(&fresh_challenge(client).await, state);
        client.post("/v1/attest").json(&json!({"chain": chain})).send().await.unwrap();
    }

    async fn checks(&self) -> Answer {
        let has = json!({"model": "hf1", "channel": "stable", "build": "b1", "timestamp": 100,
            "security_patch": "2026-11-05"});
        self.link.post("/v1/updates/check").json(&has).send_json().await.unwrap()
    }

    async fn is_offered(&self) -> Offer {
        match self.checks().await {
            Answer::Update(offer) => offer,
            Answer::Nothing { reason } => panic!("nothing: {reason:?}"),
        }
    }
}

/// Something like a zip, longer than what is read at once.
fn zip() -> Vec<u8> {
    (0..700_001_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn announcement(zip: &[u8]) -> Value {
    let sha256: String =
        crypto::digest::sha256(zip).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"model": "hf1", "channel": "stable", "build": "b2", "timestamp": 200, "percentage": 100,
        "security_patch": "2026-11-05", "size": zip.len(), "sha256": sha256})
}

async fn told<T>(request: Request) -> Result<T, Error>
where
    T: serde::de::DeserializeOwned,
{
    request.send_json().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_6_a_release_goes_from_its_maker_to_a_device_in_pieces() {
    let mut clouds = Clouds::start();
    let client = clouds.cloud.client();
    let anna = Person::sign_up(&client, PHONE, EMAIL).await;
    let phone = Phone::bound(&clouds, &client, &anna).await;
    let maker = clouds.credential("maker.json");
    let zip = zip();

    // Each credential opens its own doors only.
    let request = announcement(&zip);
    let by_device = phone.link.post("/v1/makers/releases").json(&request).send().await;
    assert_eq!(code_of(by_device), "not_a_maker");
    let check = client.post("/v1/updates/check").bearer(&anna.token).json(&json!({}));
    assert_eq!(code_of(check.send().await), "device_only");

    let release = client.post("/v1/makers/releases").bearer(&maker).json(&request);
    let release: Release = told(release).await.unwrap();
    let again = client.post("/v1/makers/releases").bearer(&maker).json(&request).send().await;
    assert_eq!(code_of(again), "release_exists");
    let package = format!("/v1/makers/packages/{}", release.packages[0].package_id);
    assert_eq!(phone.checks().await, Answer::Nothing { reason: Reason::NoPackage });

    // Longer, and broken off; each on a connection of its own.
    let upload = |bytes: Vec<u8>| clouds.cloud.client().put(&package).bearer(&maker).bytes(bytes);
    let longer = upload([&zip[..], b"more"].concat()).send().await;
    assert_eq!(code_of(longer), "size_differs");
    assert_eq!(code_of(upload(zip[1..].to_vec()).send().await), "size_differs");
    let half = futures_util::stream::iter([Ok(zip[..9].to_vec().into()), Err(hung_up())]);
    let broken = clouds.cloud.client().put(&package).bearer(&maker);
    assert!(broken.stream(Some(zip.len() as u64), half).send().await.is_err());
    assert_eq!(phone.checks().await, Answer::Nothing { reason: Reason::NoPackage });
    let release: Release = told(upload(zip.clone())).await.unwrap();
    assert!(release.packages[0].uploaded);

    // What was acknowledged survives a crash.
    clouds.cloud.kill();
    clouds.restart_cloud();
    let client = clouds.cloud.client();
    let phone = Phone { link: Link::open(&client, &phone.device_id, &phone.device).await, ..phone };
    let offer = phone.is_offered().await;
    ranges_are_answered(&phone.link, &offer, &zip).await;

    // S2.5.2: unlocked, it gets nothing; locked again, it does.
    phone.attests(&client, VerifiedBootState::Unverified).await;
    assert_eq!(phone.checks().await, Answer::Nothing { reason: Reason::BootloaderUnlocked });
    assert_eq!(code_of(phone.link.get(&offer.url).send().await), "device_not_trusted");
    phone.attests(&client, VerifiedBootState::Verified).await;
    assert_eq!(phone.is_offered().await, offer);

    let stop = format!("/v1/makers/releases/{}/stop", release.release_id);
    client.post(&stop).bearer(&maker).send().await.unwrap();
    assert_eq!(code_of(phone.link.get(&offer.url).send().await), "release_stopped");
    assert_eq!(code_of(client.get(&offer.url).bearer(&maker).send().await), "not_signed_in");
}

fn hung_up() -> std::io::Error {
    std::io::ErrorKind::ConnectionReset.into()
}

/// Headers of a request.
type Headers<'a> = &'a [(&'static str, &'a str)];

async fn ranges_are_answered(link: &Link, offer: &Offer, zip: &[u8]) {
    let size = zip.len();
    let etag = format!("\"{}\"", offer.package.sha256);
    let last = format!("bytes {}-{}/{size}", size - 10, size - 1);
    let none = format!("bytes */{size}");
    let cases: [(Headers<'_>, u16, &[u8], &str); 7] = [
        (&[], 200, zip, ""),
        (&[("range", "bytes=5-8")], 206, &zip[5..9], "bytes 5-8/700001"),
        (&[("range", "bytes=-10")], 206, &zip[size - 10..], &last),
        (&[("range", "bytes=300000-")], 206, &zip[300_000..], "bytes 300000-700000/700001"),
        (&[("range", "bytes=5-8"), ("if-range", "\"other\"")], 200, zip, ""),
        (&[("range", "bytes=5-8"), ("if-range", &etag)], 206, &zip[5..9], "bytes 5-8/700001"),
        (&[("range", "bytes=700001-")], 416, b"", &none),
    ];
    for (headers, status, bytes, range) in cases {
        let request = headers.iter().fold(link.get(&offer.url), |it, (k, v)| it.header(k, v));
        let response = request.send_any().await.unwrap();
        assert_eq!(response.status(), status, "{headers:?}");
        assert_eq!(response.header(&CONTENT_RANGE).unwrap_or_default(), range, "{headers:?}");
        assert_eq!(response.header(&ETAG), Some(&*etag));
        assert_eq!(response.header(&ACCEPT_RANGES), Some("bytes"));
        if status != 416 {
            assert_eq!(response.header(&CONTENT_LENGTH), Some(&*bytes.len().to_string()));
            assert!(response.bytes(1 << 20).await.unwrap() == bytes, "{headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_updates_works_as_written_with_curl() {
    let clouds = Clouds::start();
    let client = clouds.cloud.client();
    let anna = Person::sign_up(&client, PHONE, EMAIL).await;
    let phone = Phone::bound(&clouds, &client, &anna).await;
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("ota.zip"), zip()).unwrap();
    std::fs::write(home.path().join("delta.zip"), b"a delta").unwrap();
    std::fs::write(home.path().join("device.header"), phone.link.header()).unwrap();

    let said = types(&clouds, home.path());
    let expected = [
        r#""answer":"nothing","reason":"not_yet""#,
        r#""answer":"update""#,
        "ota.zip.part: OK",
        r#""offered":1,"downloaded":1,"applied":0,"booted":0,"failed":1"#,
        r#""failures":{"boot_timeout":1}"#,
        r#""stopped":"by_maker""#,
        r#""answer":"nothing","reason":"stopped""#,
    ];
    for due in expected {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
}

/// Types the blocks of the page into a shell, one after the other; what they printed.
fn types(clouds: &Clouds, home: &Path) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let script = blocks.collect::<String>().replace("https://localhost:8443", &clouds.cloud.url);
    let output = Command::new("sh")
        .args(["-euc", &script])
        .env("HOME", home)
        .env("HOLDFAST_STATE", clouds.folder.path())
        .current_dir(home)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    said
}
