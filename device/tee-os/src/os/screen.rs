//! The person at the trusted screen: jobs that wait for an answer.

use super::Os;
use crate::prompts::Question;
use crate::syscalls::only;
use crate::ta::Task;
use crate::{confirmation, mark};
use board::channel::ChannelError;
use board::ui::{Input, Mark, Typed};
use tee_api::gatekeeper::Gatekeeper;
use tee_api::ui::{Answer, Ask, Call, Said};
use tee_api::{Protocol, TeeError};

impl Os {
    pub(super) fn serve_screen(&mut self) -> Result<(), ChannelError> {
        let Some(said) = self.prompts.receive()? else { return Ok(()) };
        let asker = said.question.asker;
        let answer = self.judge(said.question, said.answer);
        // What was just chosen is shown with the next prompt already.
        self.prompts.show_next()?;
        match (asker, answer) {
            (Some((ta, question)), answer) => self.resume(ta, question, answer),
            (None, Err(TeeError::Cancelled) | Ok(_)) => {}
            (None, Err(error)) => eprintln!("tee-os: the screen's mark: {error}"),
        }
        Ok(())
    }

    /// What an answer means: the mark stays here, a yes to a transaction becomes a token.
    fn judge(
        &mut self,
        question: Question,
        answer: Result<Typed, TeeError>,
    ) -> Result<Said, TeeError> {
        match (question.prompt.input, question.pending, answer) {
            (_, Some(pending), Ok(_)) => {
                let key = &self.secrets.confirmation_key;
                Ok(Said::Confirmed(self.confirmations.grant(key, pending)))
            }
            (_, Some(_), Err(refused)) => {
                self.confirmations.refuse(self.uptime_ms()?);
                Err(refused)
            }
            (Input::Mark, None, answer) => self.keep_mark(&answer?),
            (_, None, answer) => answer.map(Said::Typed),
        }
    }

    fn keep_mark(&mut self, answer: &str) -> Result<Said, TeeError> {
        let mark =
            Mark::parse(answer).map_err(|error| TeeError::BadParameters(error.to_string()))?;
        mark::store(self.storage()?, &mark)?;
        self.prompts.set_mark(mark);
        Ok(Said::Typed(Typed::default()))
    }

    /// The TA's current job waits for the person from now on.
    pub(super) fn ask(&mut self, at: usize, question: u32, ask: Ask) {
        let ta = &mut self.tas[at];
        ta.proven = true;
        let Some(job) = ta.current.take() else { return };
        // Whoever asked may be gone already.
        let heard =
            if job.caller.is_none() || job.cancelled { Err(TeeError::Cancelled) } else { Ok(()) };
        ta.asking.insert(question, job);
        let asked = heard
            .and_then(|_| self.question((at, question), ask))
            .and_then(|question| self.prompts.ask(question));
        if let Err(refused) = asked {
            self.resume(at, question, Err(refused));
        }
    }

    fn question(&self, asker: (usize, u32), ask: Ask) -> Result<Question, TeeError> {
        let identity = self.tas[asker.0].identity;
        let (prompt, pending) = match ask {
            Ask::Prompt(prompt)
                if matches!(prompt.input, Input::Transaction { .. } | Input::Mark) =>
            {
                let said = "a prompt can't ask for this: it is a question of its own";
                return Err(TeeError::BadParameters(said.into()));
            }
            Ask::Prompt(prompt) => (prompt, None),
            Ask::Transaction(wanted) => {
                let now_ms = self.uptime_ms()?;
                let pending = self.confirmations.begin(identity.owner(), &wanted, now_ms)?;
                (confirmation::prompt(wanted.text), Some(pending))
            }
            Ask::Mark => {
                only(identity, &[Gatekeeper::TA])?;
                (mark::prompt(), None)
            }
        };
        Ok(Question { asker: Some(asker), prompt, pending })
    }

    /// A job that waited for the person goes on, before all others.
    pub(super) fn resume(&mut self, at: usize, question: u32, answer: Result<Said, TeeError>) {
        let ta = &mut self.tas[at];
        if let Some(mut job) = ta.asking.remove(&question) {
            job.task = Task::Resume { question, answer };
            ta.queue.push_front(job);
            self.pump(at);
        }
    }

    /// Answers a TA's call of the screen's service.
    pub(crate) fn screen_call(&mut self, owner: [u8; 32], call: Call) -> Result<Answer, TeeError> {
        let Call::Redeem { message, binding, token } = call;
        let key = &self.secrets.confirmation_key;
        self.confirmations.redeem(key, owner, (message, &binding, &token))?;
        Ok(Answer::Done)
    }

    fn uptime_ms(&self) -> Result<u64, TeeError> {
        self.silicon.uptime_ms().map_err(|error| TeeError::Communication(error.to_string()))
    }
}
