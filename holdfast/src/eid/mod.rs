//! `holdfast eid`: an identity in a secure element, and the reader that it is shown to.

pub(crate) mod args;
mod issuer;

use crate::exit::{Exit, Lacking, Misused};
use anyhow::{Context as _, Result};
use args::{Eid, Element, Session};
use device_eid::{Wallet, WalletError};
use effects::{Clock as _, SystemClock, durable};
use issuer::Remote;
use keyattest::x509::Certificate;
use mdoc::{Presentation, Value, Verified};
use secure_element::pcsc::Pcscd;
use secure_element::socket::Socket;
use secure_element::{ElementError, PivError, SecureElement};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use wire::eid::{Purpose, Signed};
use zeroize::Zeroizing;

/// The longest PIN that is read.
const MAX_PIN: u64 = 64;

type AnyWallet = Wallet<Box<dyn SecureElement>>;

/// Runs the command.
pub(crate) async fn run(asked: Eid) -> Result<Exit> {
    match done(&asked).await {
        Err(error) => match error.downcast_ref::<WalletError>() {
            Some(WalletError::Piv(PivError::Element(_))) => Err(Lacking(error.to_string()).into()),
            _ => Err(error),
        },
        exit => exit,
    }
}

async fn done(asked: &Eid) -> Result<Exit> {
    match asked {
        Eid::Open { element, issuer, account, proof } => {
            let (mut wallet, pin) = (wallet(element)?, pin(element)?);
            let issuer = Remote::at(issuer)?;
            let challenge = issuer.challenge().await?;
            let open = wallet.activate(&pin, account, proof, &challenge)?;
            let identity = issuer.open(&open).await?;
            wallet.opened(&pin, &identity)?;
            said(element.json, &json!({ "identity": identity }), "the identity is open")
        }
        Eid::Download { element, issuer } => {
            let (mut wallet, pin) = (wallet(element)?, pin(element)?);
            let issuer = Remote::at(issuer)?;
            let identity = wallet.identity(&pin)?;
            let signed = wallet.state(&pin, Purpose::Download, &issuer.challenge().await?)?;
            wallet.keep_document(&pin, &issuer.document(&identity, &signed).await?)?;
            said(element.json, &json!({ "identity": identity }), "the document is in the element")
        }
        Eid::Show { element } => show(element),
        Eid::Present { element, session, chosen, output } => {
            let (mut wallet, pin) = (wallet(element)?, pin(element)?);
            let shown = wallet.present(&pin, &session.into(), chosen)?;
            durable::replace(output, &shown.encode(), 0o600)?;
            said(element.json, &json!({ "shown": chosen }), "shown: nothing but what was chosen")
        }
        Eid::Sign { element, file, output } => {
            let message = read(file)?;
            let (mut wallet, pin) = (wallet(element)?, pin(element)?);
            durable::replace(output, &wallet.sign(&pin, &message)?, 0o600)?;
            said(element.json, &json!({ "signed": file }), "signed")
        }
        Eid::Deregister { element, issuer, last_word } => {
            let identity = give_up(element, &Remote::at(issuer)?, last_word).await?;
            said(element.json, &json!({ "deregistered": identity }), "the identity is given up")
        }
        Eid::Verify { file, session, authority, json } => verify(file, session, authority, *json),
    }
}

/// What waits for the issuer.
#[derive(Serialize, Deserialize)]
struct LastWord {
    identity: String,
    signed: Signed,
}

/// Signs the last word and keeps it, destroys the key, tells the issuer; goes on where an earlier
/// attempt was broken off.
async fn give_up(element: &Element, issuer: &Remote, kept: &Path) -> Result<String> {
    if !kept.exists() {
        let (mut wallet, pin) = (wallet(element)?, pin(element)?);
        let identity = wallet.identity(&pin)?;
        let signed = wallet.state(&pin, Purpose::Deregister, &[])?;
        durable::replace(kept, &serde_json::to_vec(&LastWord { identity, signed })?, 0o600)?;
        wallet.destroy(&pin)?;
    }
    let word: LastWord = serde_json::from_slice(&read(kept)?)
        .map_err(|error| Misused(format!("{}: {error}", kept.display())))?;
    // Where the first attempt ended between the word and the end of the key, the key ends now.
    if let Ok(mut wallet) = wallet(element) {
        let pin = pin(element)?;
        if wallet.identity(&pin).is_ok_and(|there| there == word.identity) {
            wallet.destroy(&pin)?;
        }
    }
    issuer.deregister(&word.identity, &word.signed).await?;
    fs::remove_file(kept)?;
    Ok(word.identity)
}

fn show(element: &Element) -> Result<Exit> {
    let (mut wallet, pin) = (wallet(element)?, pin(element)?);
    let document = wallet.document(&pin)?;
    let items = document.items().iter().flat_map(|(namespace, items)| {
        items.iter().map(move |it| (namespace.clone(), it.identifier.clone(), it.value.clone()))
    });
    print_items(element.json, &document.security_object()?.doc_type, items.collect())
}

fn verify(file: &Path, session: &Session, trusted: &[PathBuf], json: bool) -> Result<Exit> {
    let anchor = |path: &PathBuf| -> Result<Certificate> {
        let parsed = Certificate::parse(&read(path)?);
        Ok(parsed.map_err(|error| Misused(format!("{}: {error}", path.display())))?)
    };
    let anchors = trusted.iter().map(anchor).collect::<Result<Vec<_>>>()?;
    let now = SystemClock::default().now().seconds();
    let bytes = read(file)?;
    let judged = Presentation::decode(&bytes)
        .map_err(mdoc::Refusal::from)
        .and_then(|shown| shown.verify(&session.into(), &anchors, now));
    match judged {
        Ok(Verified { doc_type, items, .. }) => print_items(json, &doc_type, items),
        Err(refusal) => {
            let told = json!({ "verified": false, "reason": refusal.to_string() });
            said(json, &told, &format!("refused: {refusal}"))?;
            Ok(Exit::Failed)
        }
    }
}

fn print_items(json: bool, doc_type: &str, items: Vec<(String, String, Value)>) -> Result<Exit> {
    let named = items.iter().map(|(_, name, value)| (name.clone(), plain(value)));
    let named: serde_json::Map<String, Json> = named.collect();
    if json {
        println!("{}", json!({ "verified": true, "type": doc_type, "elements": named }));
    } else {
        println!("{doc_type}");
        for (name, value) in named {
            println!("  {name}: {value}");
        }
    }
    Ok(Exit::Held)
}

/// A value as JSON; what JSON has no form for, as CBOR writes it for people.
fn plain(value: &Value) -> Json {
    match value {
        Value::Bool(it) => Json::from(*it),
        Value::Text(it) => Json::from(it.as_str()),
        Value::Integer(it) => i64::try_from(*it).map_or(Json::Null, Json::from),
        other => Json::from(format!("{other:?}")),
    }
}

impl From<&Session> for mdoc::Session {
    fn from(session: &Session) -> Self {
        Self {
            audience: session.audience.clone(),
            nonce: session.nonce.clone(),
            response_uri: session.response_uri.clone(),
        }
    }
}

fn wallet(element: &Element) -> Result<AnyWallet> {
    let lacking = |error: ElementError| Lacking(error.to_string());
    let reached: Box<dyn SecureElement> = match (&element.reader, &element.socket) {
        (_, Some(path)) => Box::new(Socket::connect(path).map_err(lacking)?),
        (reader, None) => {
            let pcscd = Pcscd::connect().map_err(lacking)?;
            Box::new(pcscd.card(reader.as_deref().unwrap_or_default()).map_err(lacking)?)
        }
    };
    Ok(Wallet::open(reached)?)
}

/// The PIN: from a descriptor, else from the terminal, without showing it.
fn pin(element: &Element) -> Result<Zeroizing<String>> {
    let mut typed = Zeroizing::new(String::new());
    match element.pin_fd {
        Some(fd) => {
            let source = fs::File::open(format!("/proc/self/fd/{fd}"))
                .map_err(|error| Misused(format!("descriptor {fd}: {error}")))?;
            source.take(MAX_PIN).read_to_string(&mut typed)?;
        }
        None => {
            let _hidden = Hidden::now()?;
            eprint!("PIN: ");
            std::io::stdin().read_line(&mut typed)?;
            eprintln!();
        }
    }
    Ok(Zeroizing::new(typed.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden(libc::termios);

impl Hidden {
    fn now() -> Result<Self> {
        // SAFETY: a structure of numbers, for which zeros are valid.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel fills the structure, which lives through the call.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, &raw mut before) } != 0 {
            return Err(Lacking("there is no terminal for the PIN; give --pin-fd".into()).into());
        }
        let mut hidden = before;
        hidden.c_lflag &= !libc::ECHO;
        // SAFETY: the kernel reads the structure, which lives through the call.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, &raw const hidden) };
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const self.0) };
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

fn said(json: bool, object: &Json, text: &str) -> Result<Exit> {
    if json {
        println!("{object}")
    } else {
        println!("{text}")
    }
    Ok(Exit::Held)
}
