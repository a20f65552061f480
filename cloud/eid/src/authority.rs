//! The issuer's keys: the authority that readers trust, and the signer of documents below it.

use crate::{Error, Foundation};
use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    Certificate, CertificateParams, KeyUsage, Name, SerialNumber, SignatureAlgorithm, Spki,
    Validity, build_certificate,
};

const ORGANIZATION: &str = "Holdfast";
/// Years of the authority, and of the signer (ISO/IEC 18013-5, B.1).
const AUTHORITY_DAYS: u32 = 15 * 365;
const SIGNER_DAYS: u32 = 457;

/// The authority, and who signs for it.
pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    pub(crate) signer: Certificate,
    pub(crate) signer_key: EcdsaKey,
}

impl Authority {
    /// From the database, or made anew where there is none.
    pub(crate) async fn load(on: &Foundation) -> Result<Self, Error> {
        if let Some((root_key, certificate)) = row(on, "authority").await? {
            let signer = row(on, "signer").await?;
            let (signer_key, signer) = match signer {
                Some(found) => found,
                None => below(on, &certificate, &root_key).await?,
            };
            return Ok(Self { certificate, signer, signer_key });
        }
        let key = fresh()?;
        let now = on.clock.now().seconds();
        let params = CertificateParams::root(
            name("eID authority")?,
            serial(on)?,
            Validity::days(now, AUTHORITY_DAYS),
            spki(&key)?,
        );
        let certificate = certify(&params, &key)?;
        keep(on, "authority", &key, &certificate).await?;
        let (signer_key, signer) = below(on, &certificate, &key).await?;
        Ok(Self { certificate, signer, signer_key })
    }
}

/// A signer below the authority. It signs documents and no certificates.
async fn below(
    on: &Foundation,
    authority: &Certificate,
    authority_key: &EcdsaKey,
) -> Result<(EcdsaKey, Certificate), Error> {
    let key = fresh()?;
    let dates = Validity::days(on.clock.now().seconds(), SIGNER_DAYS);
    let mut params =
        CertificateParams::device(authority, name("eID signer")?, serial(on)?, dates, spki(&key)?);
    params.extensions = vec![KeyUsage::DIGITAL_SIGNATURE.extension()];
    let certificate = certify(&params, authority_key)?;
    keep(on, "signer", &key, &certificate).await?;
    Ok((key, certificate))
}

fn internal(error: impl ToString) -> Error {
    Error::Internal(error.to_string())
}

fn fresh() -> Result<EcdsaKey, Error> {
    EcdsaKey::generate(Curve::P256).map_err(internal)
}

fn name(common_name: &str) -> Result<Name, Error> {
    Name::authority(common_name, ORGANIZATION).map_err(internal)
}

fn serial(on: &Foundation) -> Result<SerialNumber, Error> {
    SerialNumber::from_bytes(&effects::random_array::<16>(&*on.entropy)).map_err(internal)
}

fn spki(key: &EcdsaKey) -> Result<Spki, Error> {
    Spki::from_der(&key.public_key_spki().map_err(internal)?).map_err(internal)
}

fn certify(params: &CertificateParams, signer: &EcdsaKey) -> Result<Certificate, Error> {
    let sign = |bytes: &[u8]| signer.sign(bytes);
    let der = build_certificate(params, SignatureAlgorithm::EcdsaSha256, sign).map_err(internal)?;
    Certificate::parse(&der).map_err(internal)
}

async fn keep(
    on: &Foundation,
    name: &str,
    key: &EcdsaKey,
    certificate: &Certificate,
) -> Result<(), Error> {
    let sealed = on.sealer.seal("eid_authority", "key_sealed", name, key.to_pkcs8());
    sqlx::query("INSERT INTO eid_authority (name, key_sealed, certificate) VALUES ($1, $2, $3)")
        .bind(name)
        .bind(sealed)
        .bind(certificate.as_der())
        .execute(&on.pool)
        .await?;
    Ok(())
}

async fn row(on: &Foundation, name: &str) -> Result<Option<(EcdsaKey, Certificate)>, Error> {
    let found: Option<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT key_sealed, certificate FROM eid_authority WHERE name = $1")
            .bind(name)
            .fetch_optional(&on.pool)
            .await?;
    let Some((sealed, certificate)) = found else { return Ok(None) };
    let damaged = || Error::Damaged("the issuer's key");
    let pkcs8 = on.sealer.open("eid_authority", "key_sealed", name, &sealed);
    let key = EcdsaKey::from_pkcs8(Curve::P256, &pkcs8.ok_or_else(damaged)?);
    let certificate = Certificate::parse(&certificate).map_err(|_| damaged())?;
    Ok(Some((key.map_err(|_| damaged())?, certificate)))
}
