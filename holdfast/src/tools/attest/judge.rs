//! The verdict on a chain, and whatever of it can be read even where it is refused.

use super::Trusted;
use keyattest::x509::{Certificate, SerialNumber, oid};
use keyattest::{KeyDescription, Refusal, Revocation, RevocationList, Statement, pem};

/// What the chain is held against.
pub(super) struct Asked {
    pub(super) challenge: Option<Vec<u8>>,
    pub(super) trusted: Trusted,
    pub(super) lists: Vec<RevocationList>,
    /// Whether a list is older than it may be.
    pub(super) stale: bool,
    /// Seconds since 1970.
    pub(super) now: u64,
}

/// Why a chain is refused.
pub(super) struct Refused {
    /// One word.
    pub(super) reason: &'static str,
    /// A sentence.
    pub(super) detail: String,
}

/// What came out.
pub(super) struct Judged {
    pub(super) refusal: Option<Refused>,
    /// What the first certificate says, whatever it is worth.
    pub(super) description: Option<KeyDescription>,
    pub(super) statement: Option<Statement>,
    /// Whose the root is.
    pub(super) root: Option<&'static str>,
}

/// Judges the text of a chain.
pub(super) fn judge(text: &[u8], asked: &Asked) -> Judged {
    let chain = match pem::decode(text) {
        Ok(chain) => chain,
        Err(error) => {
            let refusal = Refused { reason: "MALFORMED_CHAIN", detail: error.to_string() };
            return Judged {
                refusal: Some(refusal),
                description: None,
                statement: None,
                root: None,
            };
        }
    };
    let description = described(&chain[0]);
    let revoked = |serial: &SerialNumber| -> Option<Revocation> {
        asked.lists.iter().find_map(|list| list.look_up(serial))
    };
    let verdict = asked.trusted.roots.verify_chain(&chain, &revoked, asked.now);
    let (statement, refusal) = match verdict {
        Ok(statement) => {
            let refusal = beyond(&statement, asked);
            (Some(statement), refusal)
        }
        Err(refusal) => (None, Some(of_chain(&refusal))),
    };
    let root = statement.as_ref().map(|it| asked.trusted.whose(it.root.as_der()));
    Judged { refusal, description, statement, root }
}

/// What the first certificate says, if it says anything.
fn described(leaf: &[u8]) -> Option<KeyDescription> {
    let leaf = Certificate::parse(leaf).ok()?;
    let value = leaf.extension(oid::KEY_DESCRIPTION)?;
    KeyDescription::decode(value).ok().map(|(description, _)| description)
}

fn of_chain(refusal: &Refusal) -> Refused {
    Refused { reason: refusal.reason(), detail: refusal.to_string() }
}

/// What a sound chain may be refused for.
fn beyond(statement: &Statement, asked: &Asked) -> Option<Refused> {
    let said = &statement.description.attestation_challenge;
    if asked.challenge.as_ref().is_some_and(|due| due != said) {
        let detail = "the chain answers another challenge".to_owned();
        return Some(Refused { reason: "CHALLENGE_MISMATCH", detail });
    }
    asked.stale.then(|| Refused {
        reason: "REVOCATION_LIST_STALE",
        detail: "the revocation list is older than --status-max-age: fetch it again".to_owned(),
    })
}
