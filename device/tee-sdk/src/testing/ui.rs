//! The person in front of the trusted screen, as the test says.

use super::{FakeOs, State};
use crate::Question;
use board::ui::{Input, Typed};
use serde_bytes::ByteBuf;
use tee_api::ui::{Answer, Ask, Call, Confirmation, Said, Transaction, message, not_confirmed};
use tee_api::{TaId, TeeError};

/// A confirmation that nobody used yet.
pub(super) struct Confirmed {
    ta: TaId,
    binding: ByteBuf,
    given: Confirmation,
}

impl FakeOs {
    /// What the person answers, at the first time that it fits what is asked; a transaction is
    /// confirmed by the empty text.
    pub(super) fn answer(&self, ta: TaId, question: Question) -> Result<Said, TeeError> {
        let mut state = self.state();
        state.prompts.push(question.clone());
        let input = match question.0 {
            Ask::Prompt(prompt) => {
                let unshowable = |error| TeeError::BadParameters(format!("the prompt: {error}"));
                prompt.check().map_err(unshowable)?;
                prompt.input
            }
            Ask::Mark => {
                state.typed(&Input::Mark)?;
                return Ok(Said::Typed(Typed::default()));
            }
            Ask::Transaction(wanted) => {
                state.typed(&Input::Confirm)?;
                return state.confirm(ta, wanted).map(Said::Confirmed);
            }
        };
        state.typed(&input).map(Said::Typed)
    }
}

impl State {
    fn typed(&mut self, input: &Input) -> Result<Typed, TeeError> {
        loop {
            let text = self.answers.pop_front().flatten().ok_or(TeeError::Cancelled)?;
            if let Ok(typed) = input.accept(&text) {
                return Ok(typed);
            }
        }
    }

    fn confirm(&mut self, ta: TaId, wanted: Transaction) -> Result<Confirmation, TeeError> {
        let Transaction { text, extra, binding } = wanted;
        let token = ByteBuf::from(crypto::random_array::<40>());
        let given = Confirmation { message: message(&text, &extra)?.into(), token };
        self.confirmed.push(Confirmed { ta, binding, given: given.clone() });
        Ok(given)
    }

    pub(super) fn screen_call(&mut self, ta: TaId, call: Call) -> Result<Answer, TeeError> {
        let Call::Redeem { message, binding, token } = call;
        let given = Confirmation { message, token };
        let known = self
            .confirmed
            .iter()
            .position(|known| (known.ta, &known.binding, &known.given) == (ta, &binding, &given));
        self.confirmed.remove(known.ok_or_else(not_confirmed)?);
        Ok(Answer::Done)
    }
}
