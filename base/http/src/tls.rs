//! A certificate authority and a server certificate of one's own (X.509, RFC 5280; TLS,
//! RFC 8446), kept in a folder: `ca.pem`, `ca.key`, `server.pem`, `server.key`.
//!
//! Both are made on first start (P-256) and stay; the server certificate is renewed
//! [`RENEW_BEFORE`] its end, also while the service runs. Keys are readable by their owner
//! alone. A crash at any point leaves a folder that the next start can use.

use effects::{Clock, UnixMillis, durable};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, UNIX_EPOCH};
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};

/// How long a server certificate is valid.
pub const SERVER_VALIDITY: Duration = Duration::from_hours(365 * 24);
/// How long before its end a server certificate is replaced.
pub const RENEW_BEFORE: Duration = Duration::from_hours(30 * 24);
/// How long the authority is valid.
const AUTHORITY_VALIDITY: Duration = Duration::from_hours(10 * 365 * 24);
/// A certificate is valid from this long before it was made: clocks differ.
const CLOCK_TOLERANCE: Duration = Duration::from_hours(1);
/// The names that every server certificate carries.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why there is no TLS identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error(
        "{path} cannot be used ({reason}); restore it from a backup, or remove the folder's \
             ca.pem, ca.key, server.pem and server.key to start with a new authority"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a host name nor an IP address")]
    Name(String),
    /// The certificate could not be made.
    #[error("making a certificate: {0}")]
    Make(String),
}

/// A service's own authority and server certificate.
pub struct Identity {
    folder: PathBuf,
    names: Vec<String>,
    authority_key: KeyPair,
    authority: CertificateDer<'static>,
    clock: Arc<dyn Clock>,
    current: RwLock<Current>,
}

/// The server certificate in use, and when it wants to be replaced.
struct Current {
    key: Arc<CertifiedKey>,
    renew_at: UnixMillis,
}

impl Identity {
    /// Loads the identity in `folder`, or makes what is missing there. `names` (host names or
    /// IP addresses) join localhost, 127.0.0.1 and ::1 in the server certificate.
    pub fn load_or_make(
        folder: &Path,
        names: &[String],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let (authority_key, authority) = load_or_make_authority(folder, clock.now())?;
        let mut all: Vec<String> = LOCAL_NAMES.map(String::from).to_vec();
        all.extend(names.iter().filter(|name| !LOCAL_NAMES.contains(&name.as_str())).cloned());
        let store = Store { folder, names: &all, key: &authority_key, authority: &authority };
        let current = match store.load(clock.now()) {
            Some(current) => current,
            None => store.make(clock.now())?,
        };
        let (folder, current) = (folder.to_path_buf(), RwLock::new(current));
        Ok(Self { folder, names: all, authority_key, authority, clock, current })
    }

    /// The authority's certificate file, for clients to pin.
    #[must_use]
    pub fn ca_path(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The authority's certificate, DER.
    #[must_use]
    pub fn ca_der(&self) -> &[u8] {
        &self.authority
    }

    /// The listener's TLS settings: TLS 1.3, or 1.2 for clients that know no better.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Make(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(self.clone())));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Replaces the server certificate where its time has come. The listener calls this before
    /// each connection; it is a comparison of two numbers but for once a year.
    pub fn renew_if_due(&self) -> Result<(), Error> {
        let now = self.clock.now();
        if now < self.read().renew_at {
            return Ok(());
        }
        let store = Store {
            folder: &self.folder,
            names: &self.names,
            key: &self.authority_key,
            authority: &self.authority,
        };
        let made = store.make(now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Resolver(Arc<Identity>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().key.clone())
    }
}

/// A client's TLS settings (TLS 1.3 only): it believes the authorities in `ca_pem` and nobody
/// else.
pub fn client_config(ca_pem: &[u8]) -> Result<Arc<ClientConfig>, crate::Error> {
    let refuse = |reason: String| crate::Error::Authority(reason);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| refuse(error.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| refuse(error.to_string()))?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The authority's key is written first: a crash after it leaves a key that nobody believes
/// yet, and the next start makes its certificate.
fn load_or_make_authority(
    folder: &Path,
    now: UnixMillis,
) -> Result<(KeyPair, CertificateDer<'static>), Error> {
    let (key_path, path) = (folder.join("ca.key"), folder.join("ca.pem"));
    let key = match read(&key_path)? {
        Some(pem) => key_from_pem(&pem).map_err(content(&key_path))?,
        None if path.exists() => {
            return Err(content(&key_path)("it is missing, but ca.pem is there".to_owned()));
        }
        None => {
            let key = make_key()?;
            write(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
            key
        }
    };
    if read(&path)?.is_none() {
        let made = authority_params(now)?.self_signed(&key).map_err(making)?;
        write(&path, made.pem().as_bytes(), 0o644)?;
    }
    let pem = read(&path)?.unwrap_or_default();
    let certificate =
        CertificateDer::from_pem_slice(&pem).map_err(|error| content(&path)(error.to_string()))?;
    if !holds_key(&certificate, &key) {
        return Err(content(&path)("it does not belong to ca.key".to_owned()));
    }
    Ok((key, certificate))
}

fn authority_params(now: UnixMillis) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new()).map_err(making)?;
    params.distinguished_name.push(DnType::CommonName, "Holdfast local CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, AUTHORITY_VALIDITY);
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, now: UnixMillis, validity: Duration) {
    let now = UNIX_EPOCH + Duration::from_secs(now.seconds());
    params.not_before = (now - CLOCK_TOLERANCE).into();
    params.not_after = (now + validity).into();
}

/// Where the server certificate lives and who signs it.
struct Store<'a> {
    folder: &'a Path,
    names: &'a [String],
    key: &'a KeyPair,
    authority: &'a CertificateDer<'static>,
}

impl Store<'_> {
    /// The certificate that is there, if it can still be used as it is. It is made from the
    /// authority at no cost, so one that is damaged is replaced without ado.
    fn load(&self, now: UnixMillis) -> Option<Current> {
        let certificate = CertificateDer::from_pem_file(self.folder.join("server.pem")).ok()?;
        let key = PrivateKeyDer::from_pem_file(self.folder.join("server.key")).ok()?;
        let (not_after, names) = inspect(&certificate)?;
        if names != self.names.iter().cloned().collect() || !self.signed(&certificate, now) {
            return None;
        }
        let key = CertifiedKey::from_der(
            vec![certificate, self.authority.clone()],
            key,
            &aws_lc_rs::default_provider(),
        );
        let current = Current { key: Arc::new(key.ok()?), renew_at: renew_at(not_after) };
        (now < current.renew_at).then_some(current)
    }

    /// Whether the authority signed `certificate` and it is valid now, as a client judges it.
    fn signed(&self, certificate: &CertificateDer<'_>, now: UnixMillis) -> bool {
        use rustls::client::danger::ServerCertVerifier as _;
        let mut roots = RootCertStore::empty();
        if roots.add(self.authority.clone()).is_err() {
            return false;
        }
        let time = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        let name =
            rustls::pki_types::ServerName::try_from("localhost").expect("localhost is a host name");
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .is_ok_and(|v| v.verify_server_cert(certificate, &[], &name, &[], time).is_ok())
    }

    /// A new key and certificate, written before they are used.
    fn make(&self, now: UnixMillis) -> Result<Current, Error> {
        let key = make_key()?;
        let issuer = Issuer::new(authority_params(now)?, self.key);
        let made = self.params(now)?.signed_by(&key, &issuer).map_err(making)?;
        write(&self.folder.join("server.key"), key.serialize_pem().as_bytes(), 0o600)?;
        write(&self.folder.join("server.pem"), made.pem().as_bytes(), 0o644)?;
        let certified = CertifiedKey::from_der(
            vec![made.der().clone(), self.authority.clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            &aws_lc_rs::default_provider(),
        )
        .map_err(|error| Error::Make(error.to_string()))?;
        let not_after = now.plus(SERVER_VALIDITY);
        Ok(Current { key: Arc::new(certified), renew_at: renew_at(not_after) })
    }

    fn params(&self, now: UnixMillis) -> Result<CertificateParams, Error> {
        for name in self.names {
            rustls::pki_types::ServerName::try_from(name.as_str())
                .map_err(|_| Error::Name(name.clone()))?;
        }
        let mut params = CertificateParams::new(self.names).map_err(making)?;
        params.distinguished_name.push(DnType::CommonName, self.names[0].as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, SERVER_VALIDITY);
        Ok(params)
    }
}

const fn renew_at(not_after: UnixMillis) -> UnixMillis {
    UnixMillis(not_after.0.saturating_sub(RENEW_BEFORE.as_millis() as u64))
}

/// The end of a certificate's validity and the names in it.
fn inspect(certificate: &CertificateDer<'_>) -> Option<(UnixMillis, BTreeSet<String>)> {
    use x509_cert::der::Decode as _;
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let body = certificate.tbs_certificate();
    let not_after = body.validity().not_after.to_unix_duration();
    let (_, names) = body.get_extension::<SubjectAltName>().ok()??;
    let names = names.0.iter().map(name_text).collect::<Option<_>>()?;
    Some((UnixMillis(not_after.as_millis() as u64), names))
}

fn name_text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            four @ [_, _, _, _] => <[u8; 4]>::try_from(four).ok().map(IpAddr::from),
            bytes => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        }
        .map(|address| address.to_string()),
        _ => None,
    }
}

fn holds_key(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    use x509_cert::der::Decode as _;
    x509_cert::Certificate::from_der(certificate).is_ok_and(|certificate| {
        let spki = certificate.tbs_certificate().subject_public_key_info();
        spki.subject_public_key.as_bytes() == Some(key.public_key_raw())
    })
}

fn make_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(making)
}

fn key_from_pem(pem: &[u8]) -> Result<KeyPair, String> {
    let pem = std::str::from_utf8(pem).map_err(|_| "it is not PEM".to_owned())?;
    KeyPair::from_pem(pem).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    durable::replace(path, bytes, mode).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File { path: path.clone(), source }
}

fn content(path: &Path) -> impl Fn(String) -> Error {
    let path = path.to_path_buf();
    move |reason| Error::Content { path: path.clone(), reason }
}

fn making(error: rcgen::Error) -> Error {
    Error::Make(error.to_string())
}
