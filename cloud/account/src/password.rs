//! Passwords: what may be one (S5.1.1), and their hashes (Argon2id, RFC 9106).

use crate::Error;
use crate::contact::{Email, Phone};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::sync::Arc;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Why a password is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Weakness {
    /// Not 8 to 16 characters.
    #[error("a password has 8 to 16 characters")]
    Length,
    /// No digit, no letter or no special character.
    #[error("a password needs a digit, a letter and a special character")]
    Classes,
    /// A character that cannot be typed everywhere.
    #[error("a password has no control characters")]
    Control,
    /// What everyone tries first.
    #[error("this password is among the first that anyone would try; choose another")]
    Common,
    /// Contains the phone number or the e-mail's local part.
    #[error("a password does not contain your phone number or e-mail address")]
    Personal,
}

/// Words that no password may be built around, folded as [`skeleton`] folds.
const COMMON: &[&str] = &[
    "password",
    "passwort",
    "passw",
    "qwerty",
    "qwertz",
    "azerty",
    "welcome",
    "willkommen",
    "letmein",
    "iloveyou",
    "admin",
    "administrator",
    "login",
    "master",
    "dragon",
    "monkey",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "shadow",
    "superman",
    "batman",
    "hello",
    "secret",
    "changeme",
    "default",
    "trustnoone",
    "summer",
    "winter",
    "spring",
    "autumn",
    "holdfast",
    "test",
    "abc",
    "abcd",
    "abcdef",
    "asdf",
    "asdfgh",
    "qazwsx",
    "zaqwsx",
    "michael",
    "jordan",
    "computer",
    "internet",
    "samsung",
];

/// Checks `password` against S5.1.1 and against what is known of its owner.
pub fn check(password: &str, phone: &Phone, email: &Email) -> Result<(), Weakness> {
    if !(8..=16).contains(&password.chars().count()) {
        return Err(Weakness::Length);
    }
    if password.chars().any(char::is_control) {
        return Err(Weakness::Control);
    }
    let has = |class: fn(char) -> bool| password.chars().any(class);
    if !(has(char::is_numeric) && has(char::is_alphabetic) && has(|c| !c.is_alphanumeric())) {
        return Err(Weakness::Classes);
    }
    if is_common(password) {
        return Err(Weakness::Common);
    }
    if is_personal(password, phone, email) { Err(Weakness::Personal) } else { Ok(()) }
}

fn is_common(password: &str) -> bool {
    let skeleton = skeleton(password);
    let plain: String = password.to_lowercase().chars().filter(|c| c.is_alphabetic()).collect();
    let listed = |word: &str| COMMON.contains(&word);
    let mut distinct: Vec<char> = password.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    listed(&skeleton) || listed(&plain) || distinct.len() < 5 || has_run(password)
}

/// The letters of a password once the usual disguises are undone: `P@ssw0rd1!` → `password`.
fn skeleton(password: &str) -> String {
    let decorated = |c: char| !c.is_alphabetic();
    let core = password.trim_end_matches(decorated).trim_start_matches(|c: char| c.is_numeric());
    core.to_lowercase()
        .chars()
        .filter_map(|c| match c {
            '@' | '4' => Some('a'),
            '0' => Some('o'),
            '1' | '!' => Some('i'),
            '3' => Some('e'),
            '$' | '5' => Some('s'),
            '7' => Some('t'),
            c => c.is_alphabetic().then_some(c),
        })
        .collect()
}

/// Five neighbours of the alphabet or of the digits in a row: `12345`, `edcba`.
fn has_run(password: &str) -> bool {
    let codes: Vec<i64> =
        password.to_lowercase().chars().map(|c| i64::from(u32::from(c))).collect();
    [1, -1].iter().any(|step| codes.windows(5).any(|w| w.windows(2).all(|p| p[1] - p[0] == *step)))
}

fn is_personal(password: &str, phone: &Phone, email: &Email) -> bool {
    let folded = password.to_lowercase();
    let digits: String = password.chars().filter(char::is_ascii_digit).collect();
    // The last six digits are what people use; a country code never stands alone.
    let number = phone.as_str();
    let tail = &number[number.len() - 6..];
    let local = email.local().to_lowercase();
    digits.contains(tail) || (local.chars().count() >= 3 && folded.contains(&local))
}

/// Argon2id at OWASP's minimum: 19 MiB, two passes, one lane.
const COST: Cost = Cost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

/// What a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    fn hash(self, password: &[u8], salt: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()?;
        let mut out = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, salt, &mut *out)
            .ok()?;
        Some(out)
    }
}

/// A record in the form of the PHC string format:
/// `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`, salt and hash in base64 without padding.
struct Phc {
    cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Phc {
    fn encode(cost: Cost, salt: &[u8], hash: &[u8]) -> Zeroizing<String> {
        let Cost { memory_kib, passes, lanes } = cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}").into()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (cost, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let mut numbers = cost.split(',').zip(["m=", "t=", "p="]).map(|(field, name)| {
            field.strip_prefix(name).and_then(|number| number.parse::<u32>().ok())
        });
        let (memory_kib, passes, lanes) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let (salt, hash) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?);
        let cost = Cost { memory_kib, passes, lanes };
        parts.next().is_none().then_some(Self { cost, salt, hash })
    }
}

/// How many may wait for their hash before the next is sent away.
const WAITING: usize = 64;

/// Hashes and verifies, one at a time on each core: a flood of sign-ins costs time, not memory.
#[derive(Clone)]
pub struct Hasher {
    cores: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Hasher {
    /// For a machine of `cores` cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let cores = cores.max(1);
        Self {
            cores: Arc::new(Semaphore::new(cores)),
            waiting: Arc::new(Semaphore::new(WAITING + cores)),
        }
    }

    /// The PHC string of `password` with this salt.
    pub async fn hash(&self, password: &str, salt: [u8; 16]) -> Result<Zeroizing<String>, Error> {
        let password = Zeroizing::new(password.to_owned());
        self.on_a_core(move || {
            let hash = COST.hash(password.as_bytes(), &salt);
            let hash = hash.ok_or(Error::Damaged("the password could not be hashed"))?;
            Ok(Phc::encode(COST, &salt, &*hash))
        })
        .await
    }

    /// Whether `password` is the one of `phc`.
    pub async fn verify(&self, password: &str, phc: Zeroizing<Vec<u8>>) -> Result<bool, Error> {
        let password = Zeroizing::new(password.to_owned());
        self.on_a_core(move || {
            let record = std::str::from_utf8(&phc).ok().and_then(Phc::parse);
            let matches = record.and_then(|Phc { cost, salt, hash }| {
                let given = cost.hash(password.as_bytes(), &salt)?;
                Some(crypto::constant_time_eq(&*given, &hash))
            });
            matches.ok_or(Error::Damaged("a password record"))
        })
        .await
    }

    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _place = self.waiting.try_acquire().map_err(|_| Error::Busy)?;
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| Error::Busy)?;
        // The permit goes with the work: a caller that goes away frees no core.
        let job = tokio::task::spawn_blocking(move || {
            let _core = core;
            work()
        });
        job.await.map_err(|_| Error::Busy)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(password: &str) -> Result<(), Weakness> {
        let phone = Phone::parse("+4915170294816").unwrap();
        let email = Email::parse("anna.blum@example.org").unwrap();
        check(password, &phone, &email)
    }

    #[test]
    fn s5_1_1_passwords_have_8_to_16_characters_of_three_classes() {
        for good in ["tr4ut-es", "tr4ut-es-nicht!!", "грибы-42", "ü1!ü2!ab", "Zug 9 fährt ab"]
        {
            assert_eq!(verdict(good), Ok(()), "{good}");
        }
        assert_eq!(verdict("tr4ut-e"), Err(Weakness::Length));
        assert_eq!(verdict("tr4ut-es-nicht!!!"), Err(Weakness::Length));
        assert_eq!(verdict("грибы-4"), Err(Weakness::Length), "characters count, not bytes");
        for bad in ["trautesn1", "traut-es", "4711-0815", ""] {
            assert!(verdict(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn s5_1_1_refuses_the_obvious() {
        for bad in ["P@ssw0rd1!", "Password1!", "Qwerty12!", "1234567a!", "a1!a1!a1!", "Holdfast1!"]
        {
            assert_eq!(verdict(bad), Err(Weakness::Common), "{bad}");
        }
        for bad in ["x!294816z", "Anna.Blum7!"] {
            assert_eq!(verdict(bad), Err(Weakness::Personal), "{bad}");
        }
    }

    #[tokio::test]
    async fn s5_1_3_a_hash_is_salted_argon2id_and_verifies_only_its_password() {
        let hasher = Hasher::new(1);
        let phc = hasher.hash("tr4ut-es", [1; 16]).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", *phc);
        assert_ne!(*phc, *hasher.hash("tr4ut-es", [2; 16]).await.unwrap());
        let record = || Zeroizing::new(phc.as_bytes().to_vec());
        assert!(hasher.verify("tr4ut-es", record()).await.unwrap());
        assert!(!hasher.verify("tr4ut-Es", record()).await.unwrap());
        for damaged in ["", "$argon2id$v=19$", &phc[..phc.len() - 2], &format!("{}$", *phc)] {
            let record = Zeroizing::new(damaged.as_bytes().to_vec());
            assert!(!matches!(hasher.verify("tr4ut-es", record).await, Ok(true)), "{damaged}");
        }
    }

    #[test]
    fn agrees_with_the_reference_implementation() {
        // argon2-cffi: hash_secret(b"tr4ut-es", b"somesaltsomesalt", 2, 19456, 1, 32, Type.ID)
        let record = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
                      G9DzH4H8kHiTNxbni7mPucWSsioIupcfGt72XLNBT74";
        let Phc { cost, salt, hash } = Phc::parse(record).unwrap();
        assert_eq!(cost, COST);
        assert_eq!(cost.hash(b"tr4ut-es", &salt).unwrap().to_vec(), hash);
        assert_eq!(*Phc::encode(cost, &salt, &hash), record);
    }
}
