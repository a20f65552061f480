//! The person at the trusted screen: jobs that wait for an answer.

use super::Os;
use crate::prompts::Said;
use crate::ta::Task;
use board::channel::ChannelError;
use board::ui::Prompt;
use tee_api::TeeError;
use tee_api::ta::Typed;

impl Os {
    pub(super) fn serve_screen(&mut self) -> Result<(), ChannelError> {
        if let Some(Said { asker: (ta, question), answer }) = self.prompts.receive()? {
            self.resume(ta, question, answer.map(|text| Typed(text.as_str().to_owned())));
        }
        Ok(())
    }

    /// The TA's current job waits for the person from now on.
    pub(super) fn ask(&mut self, at: usize, question: u32, prompt: Result<Prompt, TeeError>) {
        let ta = &mut self.tas[at];
        ta.proven = true;
        let Some(job) = ta.current.take() else { return };
        // Whoever asked may be gone already.
        let heard =
            if job.caller.is_none() || job.cancelled { Err(TeeError::Cancelled) } else { Ok(()) };
        ta.asking.insert(question, job);
        let asked = heard.and(prompt).and_then(|prompt| self.prompts.ask((at, question), prompt));
        if let Err(refused) = asked {
            self.resume(at, question, Err(refused));
        }
    }

    /// A job that waited for the person goes on, before all others.
    pub(super) fn resume(&mut self, at: usize, question: u32, answer: Result<Typed, TeeError>) {
        let ta = &mut self.tas[at];
        if let Some(mut job) = ta.asking.remove(&question) {
            job.task = Task::Resume { question, answer };
            ta.queue.push_front(job);
            self.pump(at);
        }
    }
}
