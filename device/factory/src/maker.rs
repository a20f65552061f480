//! The maker: a certificate authority for devices, and the key that signs what boots.

use avb::{Algorithm, DecodeError, RsaPublicKeyBlob};
use crypto::sign::{Curve, EcdsaKey, Hash, RsaKey};
use der::pem::{LineEnding, decode_vec, encode_string};
use effects::{Entropy, UnixMillis, durable, random_array};
use keyattest::EncodeError;
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use std::path::{Path, PathBuf};
use std::{fs, io};

const ORGANIZATION: &str = "Holdfast";
const YEARS: u32 = 365;
const ROOT_DAYS: u32 = 20 * YEARS;
const INTERMEDIATE_DAYS: u32 = 15 * YEARS;
const DEVICE_DAYS: u32 = 10 * YEARS;
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// What `ta-signers` is.
const LIST: &str = "list of key digests, 64 hexadecimal digits a line,";

/// Why the maker can't work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakerError {
    /// A file can't be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// A file holds something else than it should.
    #[error("{0}: not the {1} that belongs here; restore it, or start over with a new maker")]
    Malformed(PathBuf, &'static str),
    /// The crypto library refused.
    #[error("signing: {0}")]
    Crypto(#[from] crypto::Error),
    /// A certificate can't be made of this.
    #[error("certificate: {0}")]
    Certificate(#[from] EncodeError),
    /// A public key is not one.
    #[error("public key: {0}")]
    PublicKey(keyattest::DecodeError),
    /// The signing key has a modulus that AVB can't use.
    #[error("AVB key: {0}")]
    AvbKey(#[from] DecodeError),
}

/// Bits of the key that signs what boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySize {
    /// What makers use.
    Rsa4096,
    /// Quick to make: for tests.
    Rsa2048,
}

/// The key that signs bootloaders, TEE and vbmeta.
pub struct AvbKey {
    key: RsaKey,
    public: RsaPublicKeyBlob,
    algorithm: Algorithm,
}

impl AvbKey {
    /// A fresh key. 4096 bits take about a second.
    pub fn generate(size: KeySize) -> Result<Self, MakerError> {
        let bits = match size {
            KeySize::Rsa4096 => 4096,
            KeySize::Rsa2048 => 2048,
        };
        Self::new(RsaKey::generate(bits)?)
    }

    /// A key that somebody made.
    pub fn new(key: RsaKey) -> Result<Self, MakerError> {
        let public = RsaPublicKeyBlob::from_modulus(&key.modulus())?;
        let algorithm = match public.bits() {
            4096 => Algorithm::Sha256Rsa4096,
            2048 => Algorithm::Sha256Rsa2048,
            _ => return Err(crypto::Error::MalformedKey.into()),
        };
        Ok(Self { key, public, algorithm })
    }

    /// SHA-256 of the public-key blob: what goes into the fuses.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.public.digest()
    }

    /// The public-key blob, as `avbtool extract_public_key` writes it.
    #[must_use]
    pub fn public_blob(&self) -> &[u8] {
        self.public.as_bytes()
    }

    pub(crate) const fn public(&self) -> &RsaPublicKeyBlob {
        &self.public
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, crypto::Error> {
        self.key.sign_pkcs1(Hash::Sha256, data)
    }
}

/// A maker of devices.
///
/// In its folder: `root_ca.pem` and `root_ca.key` (P-384), `intermediate.pem` and
/// `intermediate.key` (P-256), `avb_root.pk8` and `avb_root_2.pk8`, `ota.pem` and `ota.key` (P-256)
/// for updates. Keys are readable for their owner only. A list `ta-signers`, where there is one,
/// names who may sign trusted applications besides the maker: SHA-256 of an AVB public-key blob
/// in hexadecimal digits, one a line.
pub struct Maker {
    root: Certificate,
    intermediate: Certificate,
    intermediate_key: EcdsaKey,
    avb: AvbKey,
    second_avb: AvbKey,
    ota: Certificate,
    ta_signers: Vec<[u8; 32]>,
}

impl Maker {
    /// Opens the maker in `folder`, or founds one there. One that was interrupted while it was
    /// founded is completed.
    pub fn open_or_create(
        folder: &Path,
        size: KeySize,
        now: UnixMillis,
        entropy: &dyn Entropy,
    ) -> Result<Self, MakerError> {
        make_private_folder(folder).map_err(|error| MakerError::Io(folder.to_owned(), error))?;
        let office = Office { folder, now, entropy };
        let root_key = office.ecdsa_key("root_ca.key", Curve::P384)?;
        let root = office.certificate("root_ca.pem", || office.make_root(&root_key))?;
        let intermediate_key = office.ecdsa_key("intermediate.key", Curve::P256)?;
        let intermediate = office.certificate("intermediate.pem", || {
            office.make_intermediate(&root, &root_key, &intermediate_key)
        })?;
        let ota_key = office.ecdsa_key("ota.key", Curve::P256)?;
        let ota = office.certificate("ota.pem", || office.make_ota(&ota_key))?;
        // 4096 bits take a second: both are made at the same time.
        let (avb, second_avb) = std::thread::scope(|scope| {
            let second = scope.spawn(|| office.avb_key("avb_root_2.pk8", size));
            let first = office.avb_key("avb_root.pk8", size);
            (first, second.join().expect("making a key does not panic"))
        });
        let (avb, second_avb) = (avb?, second_avb?);
        let ta_signers = office.ta_signers()?;
        Ok(Self { root, intermediate, intermediate_key, avb, second_avb, ota, ta_signers })
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root_certificate(&self) -> &[u8] {
        self.root.as_der()
    }

    /// The key that signs what boots.
    #[must_use]
    pub const fn avb_key(&self) -> &AvbKey {
        &self.avb
    }

    /// The key that signs what boots from the day on which the first one is revoked. Its hash is
    /// in every board's fuses; until then it stays in the safe.
    #[must_use]
    pub const fn second_avb_key(&self) -> &AvbKey {
        &self.second_avb
    }

    /// Who may sign trusted applications besides this maker: what `ta-signers` lists.
    #[must_use]
    pub fn ta_signers(&self) -> &[[u8; 32]] {
        &self.ta_signers
    }

    /// `otacerts.zip`: the certificate whose key (`ota.key`) signs updates.
    pub fn otacerts(&self) -> Result<Vec<u8>, MakerError> {
        let malformed = || MakerError::Malformed(PathBuf::from("ota.pem"), "certificate");
        let certificate = payload::key::Certificate::from_der(self.ota.as_der());
        let certificate = certificate.map_err(|_| malformed())?;
        otazip::otacerts::encode(&[("ota", &certificate)]).map_err(|_| malformed())
    }

    /// The device certificate for the key that a TEE made (SubjectPublicKeyInfo DER), with its
    /// chain: device, intermediate, root.
    pub fn certify_device(
        &self,
        serial: &str,
        public_key: &[u8],
        now: UnixMillis,
        entropy: &dyn Entropy,
    ) -> Result<Vec<Vec<u8>>, MakerError> {
        let params = CertificateParams::device(
            &self.intermediate,
            Name::factory(serial)?,
            random_serial(entropy)?,
            Validity::days(now.seconds(), DEVICE_DAYS),
            Spki::from_der(public_key).map_err(MakerError::PublicKey)?,
        );
        let sign = |data: &[u8]| self.intermediate_key.sign(data);
        let device = build_certificate(&params, SignatureAlgorithm::EcdsaSha256, sign)?;
        Ok(vec![device, self.intermediate.as_der().to_vec(), self.root.as_der().to_vec()])
    }
}

/// The maker's folder, while it is opened.
struct Office<'a> {
    folder: &'a Path,
    now: UnixMillis,
    entropy: &'a dyn Entropy,
}

impl Office<'_> {
    fn ta_signers(&self) -> Result<Vec<[u8; 32]>, MakerError> {
        let path = self.folder.join("ta-signers");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| MakerError::Io(path.clone(), error))?,
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| digest(line).ok_or_else(|| MakerError::Malformed(path.clone(), LIST)))
            .collect()
    }

    fn make_root(&self, key: &EcdsaKey) -> Result<Vec<u8>, MakerError> {
        let params = CertificateParams::root(
            Name::authority("Holdfast Attestation Root", ORGANIZATION)?,
            random_serial(self.entropy)?,
            Validity::days(self.now.seconds(), ROOT_DAYS),
            spki_of(key)?,
        );
        let sign = |data: &[u8]| key.sign(data);
        Ok(build_certificate(&params, SignatureAlgorithm::EcdsaSha384, sign)?)
    }

    fn make_intermediate(
        &self,
        root: &Certificate,
        root_key: &EcdsaKey,
        key: &EcdsaKey,
    ) -> Result<Vec<u8>, MakerError> {
        let name: [u8; 8] = random_array(self.entropy);
        let params = CertificateParams::intermediate(
            root,
            Name::factory(&board::argument::hex(&name))?,
            random_serial(self.entropy)?,
            Validity::days(self.now.seconds(), INTERMEDIATE_DAYS),
            spki_of(key)?,
        );
        let sign = |data: &[u8]| root_key.sign(data);
        Ok(build_certificate(&params, SignatureAlgorithm::EcdsaSha384, sign)?)
    }

    /// Nobody asks who issued it: a device has the certificate itself.
    fn make_ota(&self, key: &EcdsaKey) -> Result<Vec<u8>, MakerError> {
        let params = CertificateParams::root(
            Name::authority("Holdfast Updates", ORGANIZATION)?,
            random_serial(self.entropy)?,
            Validity::days(self.now.seconds(), ROOT_DAYS),
            spki_of(key)?,
        );
        let sign = |data: &[u8]| key.sign(data);
        Ok(build_certificate(&params, SignatureAlgorithm::EcdsaSha256, sign)?)
    }

    fn ecdsa_key(&self, name: &str, curve: Curve) -> Result<EcdsaKey, MakerError> {
        let path = self.folder.join(name);
        let malformed = || MakerError::Malformed(path.clone(), "private key");
        if let Some(pem) = read(&path)? {
            let (_, der) = decode_vec(&pem).map_err(|_| malformed())?;
            return EcdsaKey::from_pkcs8(curve, &der).map_err(|_| malformed());
        }
        let key = EcdsaKey::generate(curve)?;
        put(&path, pem("PRIVATE KEY", key.to_pkcs8()).as_bytes(), PRIVATE)?;
        Ok(key)
    }

    fn avb_key(&self, name: &str, size: KeySize) -> Result<AvbKey, MakerError> {
        let path = self.folder.join(name);
        if let Some(der) = read(&path)? {
            let key = RsaKey::from_pkcs8(&der).ok();
            return key
                .and_then(|key| AvbKey::new(key).ok())
                .ok_or(MakerError::Malformed(path, "RSA private key of 2048 or 4096 bits"));
        }
        let key = AvbKey::generate(size)?;
        put(&path, key.key.to_pkcs8(), PRIVATE)?;
        Ok(key)
    }

    fn certificate(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>, MakerError>,
    ) -> Result<Certificate, MakerError> {
        let path = self.folder.join(name);
        let malformed = || MakerError::Malformed(path.clone(), "certificate");
        let der = match read(&path)? {
            Some(text) => decode_vec(&text).map_err(|_| malformed())?.1,
            None => {
                let der = make()?;
                put(&path, pem("CERTIFICATE", &der).as_bytes(), PUBLIC)?;
                der
            }
        };
        Certificate::parse(&der).map_err(|_| malformed())
    }
}

fn spki_of(key: &EcdsaKey) -> Result<Spki, MakerError> {
    Spki::from_der(&key.public_key_spki()?).map_err(MakerError::PublicKey)
}

fn random_serial(entropy: &dyn Entropy) -> Result<SerialNumber, MakerError> {
    Ok(SerialNumber::from_bytes(&random_array::<16>(entropy))?)
}

fn pem(label: &'static str, der: &[u8]) -> String {
    encode_string(label, LineEnding::LF, der).expect("the label is one of PEM's")
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, MakerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(MakerError::Io(path.to_owned(), error)),
    }
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), MakerError> {
    durable::replace(path, bytes, mode).map_err(|error| MakerError::Io(path.to_owned(), error))
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// A SHA-256 from its 64 hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    board::argument::unhex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use effects::SystemEntropy;
    use std::os::unix::fs::PermissionsExt;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn open(folder: &Path) -> Result<Maker, MakerError> {
        Maker::open_or_create(folder, KeySize::Rsa2048, NOW, &SystemEntropy)
    }

    #[test]
    fn s2_1_2_a_device_certificate_chains_to_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let maker = open(folder.path()).unwrap();
        let key = EcdsaKey::generate(Curve::P256).unwrap().public_key_spki().unwrap();
        let chain = maker.certify_device("HF-1", &key, NOW, &SystemEntropy).unwrap();
        let chain: Vec<_> = chain.iter().map(|der| Certificate::parse(der).unwrap()).collect();
        assert_eq!(chain[0].subject().serial_number().as_deref(), Some("HF-1"));
        assert_eq!(chain[0].public_key().as_der(), key);
        assert_eq!(chain[0].issuer(), chain[1].subject());
        assert_eq!(chain[1].issuer(), chain[2].subject());
        assert!(chain[2].is_self_signed());
        assert_eq!(chain[2].as_der(), maker.root_certificate());
    }

    #[test]
    fn the_same_maker_comes_back_and_completes_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        fs::remove_file(folder.path().join("intermediate.pem")).unwrap();
        let again = open(folder.path()).unwrap();
        assert_eq!(first.root_certificate(), again.root_certificate());
        assert_eq!(first.avb_key().digest(), again.avb_key().digest());
        fs::write(folder.path().join("avb_root.pk8"), "no key").unwrap();
        assert!(matches!(open(folder.path()), Err(MakerError::Malformed(..))));
    }

    #[test]
    fn s2_6_the_makers_certificate_for_updates_is_one_that_recovery_takes() {
        let folder = tempfile::tempdir().unwrap();
        let zip = open(folder.path()).unwrap().otacerts().unwrap();
        let certificates = otazip::otacerts::decode(&zip, zip.len() as u64).unwrap();
        let key = fs::read_to_string(folder.path().join("ota.key")).unwrap();
        let key = payload::key::SigningKey::from_pem(&key).unwrap();
        assert_eq!(certificates[0].public_key, key.public_key().unwrap());
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap();
        for name in ["root_ca.key", "intermediate.key", "avb_root.pk8", "avb_root_2.pk8", "ota.key"]
        {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
