//! A counter that nobody can set back, and that proves where it stands.
//!
//! The sample of a trusted application: docs/trusted-applications.md walks through it.

use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use tee_sdk::engine::{Attributes, Hash, KeyType, Usage};
use tee_sdk::{Context, Protocol, TaId, TeeError, TrustedApplication};

/// What the counter speaks.
#[derive(Debug)]
enum Counter {}

impl Protocol for Counter {
    const TA: TaId = TaId(0x8e3f_1a52_94c6_4f0e_8d51_6d2a_1c5b_7e90_u128.to_be_bytes());
    const NAME: &'static str = "ta-counter";
    type Command = Command;
    type Reply = Reply;
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    /// Goes on by so many.
    Add(u64),
    /// Where it stands.
    Read,
    /// Proves where it stands, to whoever thought of the challenge.
    Prove { challenge: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Count(u64),
    Proof { count: u64, mac: Vec<u8> },
}

/// Its state is in secure storage; the instance holds none.
#[derive(Debug, Default)]
struct App;

impl TrustedApplication for App {
    type Protocol = Counter;

    fn invoke(
        &mut self,
        context: &mut Context<'_>,
        _session: u32,
        command: Command,
    ) -> Result<Reply, TeeError> {
        let count: u64 = context.record_get("count")?.unwrap_or(0);
        match command {
            Command::Add(more) => {
                let full = || TeeError::BadParameters("the counter would overflow".into());
                let count = count.checked_add(more).ok_or_else(full)?;
                context.record_put("count", &count)?;
                Ok(Reply::Count(count))
            }
            Command::Read => Ok(Reply::Count(count)),
            Command::Prove { challenge } => {
                // A key that only this application on this device has, and never sees.
                let kind = KeyType::Hmac { hash: Hash::Sha256, bytes: 32 };
                let attributes = Attributes::new(kind, Usage::MAC);
                let key = context.derive_from_huk("proof", &[], attributes)?;
                let message = [&count.to_be_bytes(), challenge.as_bytes()].concat();
                Ok(Reply::Proof { count, mac: key.mac(context, &message)? })
            }
        }
    }
}

fn main() -> ExitCode {
    tee_sdk::run::<App>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tee_sdk::testing::FakeOs;

    #[test]
    fn counts_across_restarts_and_proves_it() {
        let os = FakeOs::new();
        assert_eq!(os.start::<App>().call(&Command::Add(2)), Ok(Reply::Count(2)));
        let mut counter = os.start::<App>();
        assert_eq!(counter.call(&Command::Add(3)), Ok(Reply::Count(5)));
        assert!(counter.call(&Command::Add(u64::MAX)).is_err());
        let mut prove =
            |challenge: &str| counter.call(&Command::Prove { challenge: challenge.into() });
        assert_eq!(prove("a"), prove("a"));
        assert_ne!(prove("a"), prove("b"));
    }
}
