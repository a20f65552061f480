//! What the person knows the trusted screen by: an object of the OS in RPMB, which no TA reads.

use crate::boot::OS;
use crate::storage::{Changes, SecureStorage, StorageError};
use board::channel;
use board::ui::{Input, Mark, Prompt};
use tee_api::TeeError;
use zeroize::Zeroizing;

const OBJECT: &str = "screen-mark";

/// As the person chose it; `None` before that.
pub(crate) fn load(storage: &SecureStorage) -> Result<Option<Mark>, StorageError> {
    match storage.get(OS, OBJECT) {
        Ok(bytes) => channel::decode(&bytes)
            .map(Some)
            .map_err(|error| StorageError::Security(format!("the screen's mark: {error}"))),
        Err(StorageError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps what the person chose.
pub(crate) fn store(storage: &mut SecureStorage, mark: &Mark) -> Result<(), TeeError> {
    let bytes = channel::encode(mark).map_err(|error| TeeError::Resources(error.to_string()))?;
    let put = vec![(OBJECT.to_owned(), Zeroizing::new(bytes))];
    storage.commit(OS, &Changes { put, delete: Vec::new() }).map_err(TeeError::from)
}

/// Asks for it.
pub(crate) fn prompt() -> Prompt {
    Prompt {
        title: "Make this screen yours".into(),
        detail: "Choose a picture and a word. This screen will show both whenever it asks you. \
                 Where they are missing, somebody else asks."
            .into(),
        input: Input::Mark,
    }
}
