//! A person with a program, and a bound device with a link.

use crate::maker::Device;
use crate::processes::Clouds;
use effects::{Clock as _, SystemClock};
use futures_util::{Stream, StreamExt as _};
use http_link::{Client, Error, Request};
use serde_json::json;
use std::path::Path;
use wire::Base64;
use wire::account::Session;
use wire::attest::{Challenge, Enrolled};
use wire::device::{Bound, DeviceClaims, Token};
use wire::find::{Command, Issued, Outcome};
use wire::push::Event;

pub(crate) const PASSWORD: &str = "tr4ut-es-sich";
pub(crate) const EMAIL: &str = "anna.blum@example.org";
pub(crate) const PHONE: &str = "+4915123456789";

/// The word of a refusal.
pub(crate) fn code_of<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Refused(refusal)) => refusal.error,
        Err(error) => panic!("no refusal: {error}"),
        Ok(_) => panic!("not refused"),
    }
}

pub(crate) async fn fresh_challenge(client: &Client) -> Vec<u8> {
    let challenge: Challenge = client.post("/v1/attest/challenge").send_json().await.unwrap();
    challenge.challenge.0
}

/// The maker tells the cloud of a device; the ticket key comes back.
pub(crate) async fn enrol(clouds: &Clouds, client: &Client, device: &Device) -> Vec<u8> {
    let enrolled: Enrolled = client
        .post("/v1/makers/devices")
        .bearer(&clouds.credential("maker.json"))
        .json(&json!({"chain": device.chain()}))
        .send_json()
        .await
        .unwrap();
    enrolled.ticket_key.0
}

pub(crate) fn newest_code(outbox: &Path) -> String {
    let letters = std::fs::read_dir(outbox).unwrap().map(|entry| entry.unwrap().path());
    let mut letters: Vec<_> = letters.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    letters.retain(|letter| letter.contains("Your code"));
    let letter = letters.pop().expect("a letter with a code");
    letter.split("password: ").nth(1).unwrap()[..6].to_owned()
}

pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) token: String,
    pub(crate) account_id: String,
}

impl Person {
    pub(crate) async fn sign_up(client: &Client, phone: &str, email: &str) -> Self {
        let body = json!({"password": PASSWORD, "phone": phone, "email": email, "country": "DE"});
        let session: Session = client.post("/v1/accounts").json(&body).send_json().await.unwrap();
        Self { client: client.clone(), token: session.token, account_id: session.account_id }
    }

    pub(crate) async fn bind(&self, chain: Vec<Base64>) -> Result<Bound, Error> {
        let body = json!({"chain": chain, "name": "Annas Telefon"});
        self.client.post("/v1/devices").bearer(&self.token).json(&body).send_json().await
    }

    pub(crate) async fn command(&self, device: &str, command: &Command) -> Result<u64, Error> {
        let request = self.client.post(&format!("/v1/devices/{device}/commands"));
        let issued: Issued = request.bearer(&self.token).json(command).send_json().await?;
        Ok(issued.command_id)
    }

    pub(crate) async fn outcome(&self, device: &str, command: u64) -> Outcome {
        let request = self.client.get(&format!("/v1/devices/{device}/commands/{command}"));
        request.bearer(&self.token).send_json().await.unwrap()
    }
}

/// A bound device with a session.
pub(crate) struct Link {
    client: Client,
    token: String,
}

impl Link {
    pub(crate) async fn open(client: &Client, device_id: &str, device: &Device) -> Self {
        let now = SystemClock::default().now().seconds();
        let claims = DeviceClaims {
            iss: device_id.into(),
            sub: device_id.into(),
            aud: "holdfast-cloud".into(),
            iat: now,
            exp: now + 60,
            jti: format!("{:x}", u64::from_be_bytes(crypto::random_array())),
        };
        let assertion = jws::sign(&claims, |message| device.login.sign_fixed(message)).unwrap();
        let request = client.post("/v1/devices/token").json(&json!({"assertion": assertion}));
        let token: Token = request.send_json().await.unwrap();
        Self { client: client.clone(), token: token.token }
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.client.post(path).bearer(&self.token)
    }

    pub(crate) fn put(&self, path: &str) -> Request {
        self.client.put(path).bearer(&self.token)
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.client.get(path).bearer(&self.token)
    }

    /// The header that a program sends which has the session.
    pub(crate) fn header(&self) -> String {
        format!("authorization: Bearer {}", self.token)
    }

    /// The events of the link.
    pub(crate) async fn events(&self) -> impl Stream<Item = (u64, Event)> + Unpin {
        let request = self.client.get("/v1/devices/self/link").bearer(&self.token);
        let pieces = request.send().await.unwrap().stream();
        let frames = futures_util::stream::unfold((pieces, String::new()), |mut state| async {
            loop {
                if let Some(end) = state.1.find("\n\n") {
                    let frame: String = state.1.drain(..end + 2).collect();
                    return Some((frame, state));
                }
                let piece = state.0.next().await?.ok()?;
                state.1.push_str(std::str::from_utf8(&piece).unwrap());
            }
        });
        Box::pin(frames.filter_map(|frame| async move {
            let field =
                |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let id = field("id:")?.parse().ok()?;
            Some((id, serde_json::from_str(field("data:")?).ok()?))
        }))
    }
}
