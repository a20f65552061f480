//! An operation through the keystore: data of any size, in pieces.

use crate::api::{Begun, Finish, MAX_DATA_BYTES, OperationId, Output, Use};
use crate::http::Body;
use crate::{Error, Keystore};
use keymint::{Authorizations, Bytes, KeyPurpose};

/// An operation that was begun. Dropped without an end, it is aborted.
#[derive(Debug)]
pub struct Operation<'a> {
    keystore: &'a Keystore,
    begun: Begun,
    /// Finished, refused or aborted.
    over: bool,
}

impl<'a> Operation<'a> {
    pub(crate) const fn new(keystore: &'a Keystore, begun: Begun) -> Self {
        Self { keystore, begun, over: false }
    }

    /// Its number: the challenge of an auth token for it.
    #[must_use]
    pub const fn id(&self) -> OperationId {
        self.begun.operation
    }

    /// The nonce that was chosen, where one was.
    #[must_use]
    pub const fn params(&self) -> &Authorizations {
        &self.begun.params
    }

    /// Has the person authenticate for this operation on the trusted screen; blocks until they did.
    pub fn authenticate(&mut self) -> Result<(), Error> {
        self.keystore.ask("POST", &self.target("/authenticate"), Body::Empty).map(drop)
    }

    /// More of what is authenticated and not encrypted; before the first data.
    pub fn update_aad(&mut self, aad: &[u8]) -> Result<(), Error> {
        for piece in aad.chunks(MAX_DATA_BYTES) {
            self.ask("/aad", Body::Bytes(piece))?;
        }
        Ok(())
    }

    /// More data; what came out so far.
    pub fn update(&mut self, data: &[u8]) -> Result<Vec<u8>, Error> {
        let mut output = Vec::new();
        for piece in data.chunks(MAX_DATA_BYTES) {
            output.extend(self.ask("/update", Body::Bytes(piece))?);
        }
        Ok(output)
    }

    /// The end; what came out last.
    pub fn finish(mut self, last: &Finish) -> Result<Vec<u8>, Error> {
        let body = serde_json::to_vec(last).map_err(|error| Error::Malformed(error.to_string()))?;
        let answer = self.ask("/finish", Body::Json(&body))?;
        self.over = true;
        let Output { output, .. } = crate::decoded(&answer)?;
        Ok(output.into_vec())
    }

    /// Gives it up.
    pub fn abort(mut self) -> Result<(), Error> {
        self.over = true;
        self.keystore.ask("DELETE", &self.target(""), Body::Empty).map(drop)
    }

    fn target(&self, what: &str) -> String {
        format!("/v1/keys/operations/{}{what}", self.begun.operation)
    }

    /// The first refusal ends the operation.
    fn ask(&mut self, what: &str, body: Body<'_>) -> Result<Vec<u8>, Error> {
        let answer = self.keystore.ask("POST", &self.target(what), body);
        self.over |= answer.is_err();
        answer
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if !self.over {
            // Whoever can't be told will have forgotten it as well.
            let _ = self.keystore.ask("DELETE", &self.target(""), Body::Empty);
        }
    }
}

impl Use {
    /// A use of `key`, with nothing said yet but the purpose.
    #[must_use]
    pub fn of(key: crate::api::KeyRef, purpose: KeyPurpose) -> Self {
        Self {
            key,
            purpose,
            params: Authorizations::default(),
            aad: Bytes::default(),
            input: Bytes::default(),
            signature: None,
            token: None,
            confirmation: None,
        }
    }
}
