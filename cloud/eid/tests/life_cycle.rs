//! An identity from its opening to its end: the issuer, the wallet, and a real emulated element.

use cloud_eid::{CHALLENGE_LIFETIME, Error, Foundation, Issuer, PROOF_LIFETIME, Refusal, Sealer};
use device_eid::{Wallet, WalletError};
use effects::{Clock as _, ManualClock, SystemEntropy, UnixMillis};
use element_emulated::binding::KeyFile;
use element_emulated::card::Element;
use element_emulated::make;
use element_emulated::presence::Nobody;
use element_emulated::store::{FileStorage, Store};
use keyattest::x509::Certificate;
use mdoc::{PERSON_IDENTIFICATION, Presentation, Session, Value};
use secure_element::{ElementError, PinPolicy, Piv, PivError, SIGNATURE, SecureElement};
use sqlx::sqlite::SqlitePoolOptions;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;
use wire::eid::{Person, Purpose};

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const PIN: &str = "271828";

/// An element without a reader between.
struct Direct(Element);

impl SecureElement for Direct {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ElementError> {
        Ok(self.0.transmit(command))
    }
}

/// Seals by binding to the place, as the server's does with its key.
struct TestSealer(crypto::aead::Key);

impl Sealer for TestSealer {
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(format!("{table}/{column}/{row}").as_bytes(), plaintext)
    }

    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(format!("{table}/{column}/{row}").as_bytes(), sealed).ok()
    }
}

struct World {
    issuer: Issuer,
    clock: Arc<ManualClock>,
    pool: sqlx::SqlitePool,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect("sqlite::memory:").await.unwrap();
        let foundation = Foundation {
            pool: pool.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            sealer: Arc::new(TestSealer(crypto::aead::Key::aes_256_gcm_siv(&[7; 32]))),
        };
        let issuer = Issuer::open(foundation).await.unwrap();
        Self { issuer, clock, pool, folder: tempfile::tempdir().unwrap() }
    }

    /// A new element, and a wallet on it with a PIN of its own.
    fn wallet(&self, name: &str) -> Wallet<Direct> {
        let at = |kind: &str| self.folder.path().join(format!("{name}.{kind}"));
        let binding = Box::new(KeyFile::create(at("key")).unwrap());
        make::make(Box::new(FileStorage(at("state"))), binding, NOW).unwrap();
        let mut piv = Piv::open(self.element(name)).unwrap();
        piv.change_pin("123456", PIN).unwrap();
        drop(piv);
        Wallet::open(self.element(name)).unwrap()
    }

    /// The element of that name, after a power cut.
    fn element(&self, name: &str) -> Direct {
        let at = |kind: &str| self.folder.path().join(format!("{name}.{kind}"));
        let binding = Box::new(KeyFile::open(at("key")).unwrap());
        let store = Store::open(Box::new(FileStorage(at("state"))), binding).unwrap();
        let clock = Box::new(ManualClock::new(NOW));
        Direct(Element::new(store, Box::new(Nobody), clock))
    }

    async fn proof(&self, account: &str) -> String {
        self.issuer.register(&person(account)).await.unwrap()
    }

    /// Opens and downloads: the identity's name.
    async fn opened(&self, wallet: &mut Wallet<Direct>, account: &str) -> String {
        let proof = self.proof(account).await;
        let challenge = self.issuer.challenge().await.unwrap();
        let open = wallet.activate(PIN, account, &proof, &challenge).unwrap();
        self.issuer.enrol_element(&open.attester.0).await.unwrap();
        let identity = self.issuer.open_identity(&open).await.unwrap();
        wallet.opened(PIN, &identity).unwrap();
        let challenge = self.issuer.challenge().await.unwrap();
        let signed = wallet.state(PIN, Purpose::Download, &challenge).unwrap();
        let document = self.issuer.document(&identity, &signed).await.unwrap();
        wallet.keep_document(PIN, &document).unwrap();
        identity
    }

    fn anchor(&self) -> Certificate {
        Certificate::parse(self.issuer.authority()).unwrap()
    }

    fn seconds(&self) -> u64 {
        self.clock.now().seconds()
    }
}

fn person(account: &str) -> Person {
    let elements = serde_json::json!({
        "family_name": "Mustermann", "given_name": "Erika", "age_over_18": true,
        "birth_year": 1964,
    });
    Person {
        account: account.to_owned(),
        doc_type: PERSON_IDENTIFICATION.to_owned(),
        namespace: PERSON_IDENTIFICATION.to_owned(),
        elements: elements.as_object().unwrap().clone(),
    }
}

fn session(nonce: &str) -> Session {
    Session {
        audience: "bar".into(),
        nonce: nonce.into(),
        response_uri: "https://bar.example/answer".into(),
    }
}

fn refused(error: Error) -> Refusal {
    match error {
        Error::Refused(refusal) => refusal,
        other => panic!("not a refusal: {other}"),
    }
}

#[tokio::test]
async fn s3_3_2_an_identity_is_opened_downloaded_used_and_given_up() {
    let world = World::new().await;
    let mut wallet = world.wallet("one");
    let identity = world.opened(&mut wallet, "anna").await;

    // Used: after a power cut, by its PIN, for what was chosen.
    let mut wallet = Wallet::open(world.element("one")).unwrap();
    let chosen = ["age_over_18".to_owned()];
    let shown = wallet.present(PIN, &session("n"), &chosen).unwrap().encode();
    assert!(!shown.windows(10).any(|part| part == b"Mustermann"));
    let read = Presentation::decode(&shown).unwrap();
    let verified = read.verify(&session("n"), from_ref(&world.anchor()), world.seconds()).unwrap();
    assert_eq!(verified.items.len(), 1);
    assert_eq!(verified.items[0].2, Value::from(true));
    assert!(read.verify(&session("other"), &[world.anchor()], world.seconds()).is_err());
    let signature = wallet.sign(PIN, b"a contract").unwrap();
    let key = crypto::ec::PublicKey::from_point(crypto::ec::Curve::P256, &verified.device_key);
    let digest = crypto::digest::sha256(b"a contract");
    assert_eq!(key.unwrap().verify(&digest, &signature), Ok(()));

    // Given up: the last word, then the key is gone, then the issuer knows.
    let last = wallet.state(PIN, Purpose::Deregister, &[]).unwrap();
    wallet.destroy(PIN).unwrap();
    world.clock.advance(Duration::from_secs(30 * 24 * 3600));
    world.issuer.deregister(&identity, &last).await.unwrap();
    assert!(matches!(wallet.document(PIN), Err(WalletError::Missing("identity"))));
    assert!(wallet.sign(PIN, b"a contract").is_err());
    assert_eq!(
        refused(world.issuer.document(&identity, &last).await.unwrap_err()),
        Refusal::NoIdentity
    );
    let rests: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM eid_identities WHERE person_sealed IS NOT NULL")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(rests, 0, "the person is forgotten");
    // The element can hold another one then.
    world.opened(&mut wallet, "anna").await;
}

#[tokio::test]
async fn s3_3_2_nothing_is_read_or_signed_without_the_pin() {
    let world = World::new().await;
    let mut wallet = world.wallet("one");
    world.opened(&mut wallet, "anna").await;
    for left in [2, 1, 0] {
        let wrong = wallet.present("000000", &session("n"), &[]);
        assert!(
            matches!(wrong, Err(WalletError::Piv(PivError::WrongPin { left: it })) if it == left)
        );
    }
    assert!(matches!(wallet.document(PIN), Err(WalletError::Piv(PivError::Blocked))));
    // Nor does the element's file tell anything.
    let state = std::fs::read(world.folder.path().join("one.state")).unwrap();
    assert!(!state.windows(10).any(|part| part == b"Mustermann"));
    let mut piv = Piv::open(world.element("one")).unwrap();
    assert!(matches!(piv.object(secure_element::IDENTITY), Err(PivError::Refused { .. })));
    assert!(matches!(piv.sign(SIGNATURE, &[1; 32]), Err(PivError::Refused { .. })));
}

#[tokio::test]
async fn s3_3_2_an_identity_opens_only_with_the_proof_its_account_and_an_enrolled_element() {
    let world = World::new().await;
    let issuer = &world.issuer;
    let mut wallet = world.wallet("one");
    let proof = world.proof("anna").await;
    let challenge = issuer.challenge().await.unwrap();
    let open = wallet.activate(PIN, "anna", &proof, &challenge).unwrap();
    assert_eq!(refused(issuer.open_identity(&open).await.unwrap_err()), Refusal::Element);
    issuer.enrol_element(&open.attester.0).await.unwrap();

    // A wrong proof, and the challenge again.
    let mut wrong = open.clone();
    wrong.proof = "AAAAAAAAAAAAAAAAAAAA".into();
    assert_eq!(refused(issuer.open_identity(&wrong).await.unwrap_err()), Refusal::Proof);
    assert_eq!(refused(issuer.open_identity(&open).await.unwrap_err()), Refusal::Challenge);

    // The proof is Anna's, not Bea's.
    let challenge = issuer.challenge().await.unwrap();
    let other = wallet.activate(PIN, "bea", &proof, &challenge).unwrap();
    assert_eq!(refused(issuer.open_identity(&other).await.unwrap_err()), Refusal::Proof);
    let mut renamed = other.clone();
    renamed.account = "anna".into();
    assert_eq!(refused(issuer.open_identity(&renamed).await.unwrap_err()), Refusal::Signature);

    // Right, once.
    let challenge = issuer.challenge().await.unwrap();
    let open = wallet.activate(PIN, "anna", &proof, &challenge).unwrap();
    let identity = issuer.open_identity(&open).await.unwrap();
    wallet.opened(PIN, &identity).unwrap();
    let challenge = issuer.challenge().await.unwrap();
    assert!(matches!(wallet.activate(PIN, "anna", &proof, &challenge), Err(WalletError::Occupied)));
    let mut second = world.wallet("two");
    let open = second.activate(PIN, "anna", &proof, &challenge).unwrap();
    issuer.enrol_element(&open.attester.0).await.unwrap();
    assert_eq!(refused(issuer.open_identity(&open).await.unwrap_err()), Refusal::Proof);
}

#[tokio::test]
async fn a_key_that_does_not_ask_for_the_pin_each_time_opens_nothing() {
    let world = World::new().await;
    let mut wallet = world.wallet("one");
    let proof = world.proof("anna").await;
    let challenge = world.issuer.challenge().await.unwrap();
    let mut open = wallet.activate(PIN, "anna", &proof, &challenge).unwrap();
    world.issuer.enrol_element(&open.attester.0).await.unwrap();
    let mut piv = Piv::open(world.element("one")).unwrap();
    piv.verify(PIN).unwrap();
    let printed = piv.object(secure_element::PRINTED).unwrap().unwrap();
    let key = secure_element::ManagementKey::new(piv.management_kind().unwrap(), &printed[4..]);
    piv.authenticate(&key.unwrap()).unwrap();
    piv.generate(SIGNATURE, PinPolicy::Once).unwrap();
    open.attestation = piv.attest(SIGNATURE).unwrap().into();
    assert_eq!(refused(world.issuer.open_identity(&open).await.unwrap_err()), Refusal::Policy);
}

#[tokio::test]
async fn statements_are_for_one_purpose_one_identity_and_one_time() {
    let world = World::new().await;
    let issuer = &world.issuer;
    let mut wallet = world.wallet("one");
    let identity = world.opened(&mut wallet, "anna").await;
    let challenge = issuer.challenge().await.unwrap();
    let signed = wallet.state(PIN, Purpose::Download, &challenge).unwrap();
    assert_eq!(
        refused(issuer.deregister(&identity, &signed).await.unwrap_err()),
        Refusal::Signature
    );
    assert_eq!(refused(issuer.document("none", &signed).await.unwrap_err()), Refusal::NoIdentity);
    issuer.document(&identity, &signed).await.unwrap();
    assert_eq!(refused(issuer.document(&identity, &signed).await.unwrap_err()), Refusal::Challenge);
    let challenge = issuer.challenge().await.unwrap();
    let late = wallet.state(PIN, Purpose::Download, &challenge).unwrap();
    world.clock.advance(CHALLENGE_LIFETIME);
    assert_eq!(refused(issuer.document(&identity, &late).await.unwrap_err()), Refusal::Challenge);
}

#[tokio::test]
async fn a_proof_lapses() {
    let world = World::new().await;
    let mut wallet = world.wallet("one");
    let proof = world.proof("anna").await;
    world.clock.advance(PROOF_LIFETIME + Duration::from_secs(1));
    let challenge = world.issuer.challenge().await.unwrap();
    let open = wallet.activate(PIN, "anna", &proof, &challenge).unwrap();
    world.issuer.enrol_element(&open.attester.0).await.unwrap();
    assert_eq!(refused(world.issuer.open_identity(&open).await.unwrap_err()), Refusal::Proof);
}

#[tokio::test]
async fn s3_3_2_a_document_is_worth_nothing_in_another_element() {
    let world = World::new().await;
    let (mut one, mut two) = (world.wallet("one"), world.wallet("two"));
    world.opened(&mut one, "anna").await;
    world.opened(&mut two, "bea").await;
    let copied = one.document(PIN).unwrap().encode();
    assert!(matches!(two.keep_document(PIN, &copied), Err(WalletError::OtherKey)));
    // The files of one under the key file of the other.
    let state = world.folder.path().join("one.state");
    std::fs::copy(state, world.folder.path().join("two.state")).unwrap();
    let binding = Box::new(KeyFile::open(world.folder.path().join("two.key")).unwrap());
    let storage = Box::new(FileStorage(world.folder.path().join("two.state")));
    assert!(Store::open(storage, binding).is_err());
}

#[tokio::test]
async fn the_first_identity_takes_the_element_over_from_everybody() {
    let world = World::new().await;
    let at = world.folder.path();
    let key = Box::new(KeyFile::create(at.join("new.key")).unwrap());
    make::make(Box::new(FileStorage(at.join("new.state"))), key, NOW).unwrap();
    let mut wallet = Wallet::open(world.element("new")).unwrap();
    let early = wallet.activate("123456", "anna", "proof", &[1; 32]);
    assert!(matches!(early, Err(WalletError::InitialPin)));
    let mut wallet = world.wallet("one");
    world.opened(&mut wallet, "anna").await;
    let mut piv = Piv::open(world.element("one")).unwrap();
    assert!(piv.authenticate(&secure_element::ManagementKey::of_new_cards()).is_err());
}

#[tokio::test]
async fn persons_rest_sealed_and_the_authority_stays() {
    let world = World::new().await;
    world.proof("anna").await;
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT person_sealed FROM eid_proofs")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(!sealed.windows(10).any(|part| part == b"Mustermann"));
    let again = Issuer::open(Foundation {
        pool: world.pool.clone(),
        clock: world.clock.clone(),
        entropy: Arc::new(SystemEntropy),
        sealer: Arc::new(TestSealer(crypto::aead::Key::aes_256_gcm_siv(&[7; 32]))),
    });
    assert_eq!(again.await.unwrap().authority(), world.issuer.authority());
    let mut odd = person("anna");
    odd.elements.insert("list".into(), serde_json::json!([1]));
    assert_eq!(refused(world.issuer.register(&odd).await.unwrap_err()), Refusal::Value);
}

/// A reader that others wrote: `pymdoccbor` on PyPI.
const READER: &str = r#"
import sys
from cryptography import x509
from pymdoccbor.mdoc.verifier import MdocCbor
shown, authority = (open(path, "rb").read() for path in sys.argv[1:])
mdoc = MdocCbor()
mdoc.loads(shown)
assert mdoc.verify([x509.load_der_x509_certificate(authority)]), "not verified"
[document] = mdoc.documents
print(document.doctype, sorted(mdoc.disclosure_map[document.doctype]))
"#;

#[tokio::test]
async fn s3_3_2_a_strangers_reader_verifies_what_is_shown() {
    let python = std::env::var_os("HOLDFAST_PYTHON").unwrap_or_else(|| "python3".into());
    let has = std::process::Command::new(&python).args(["-c", "import pymdoccbor"]).output();
    if !has.is_ok_and(|it| it.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "pymdoccbor is missing");
        return eprintln!("skipped: pymdoccbor is not installed (cargo xtask test does it)");
    }
    let world = World::new().await;
    let mut wallet = world.wallet("one");
    world.opened(&mut wallet, "anna").await;
    let chosen = ["age_over_18".to_owned(), "family_name".to_owned()];
    let shown = wallet.present(PIN, &session("n"), &chosen).unwrap().encode();
    let read = |shown: &[u8], authority: &[u8]| {
        let at = |name: &str| world.folder.path().join(name);
        std::fs::write(at("shown"), shown).unwrap();
        std::fs::write(at("authority"), authority).unwrap();
        let mut reader = std::process::Command::new(&python);
        reader.args(["-c", READER]).arg(at("shown")).arg(at("authority")).output().unwrap()
    };
    let said = read(&shown, world.issuer.authority());
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(text.contains(PERSON_IDENTIFICATION), "{text}");
    // It refuses what ours refuses: a name that was exchanged.
    let at = shown.windows(10).position(|part| part == b"Mustermann").unwrap();
    let altered = [&shown[..at], b"Musterfrau", &shown[at + 10..]].concat();
    assert!(!read(&altered, world.issuer.authority()).status.success());
}
