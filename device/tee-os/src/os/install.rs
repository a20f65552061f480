//! Trusted applications that come and go while the device runs.

use super::Os;
use crate::image::{self, Keys, Program};
use crate::ta::Ta;
use crate::versions;
use board::argument::hex;
use board::exec;
use board::report::{self, Record, Verdict};
use board::verdict::Refusal;
use rustix::fd::OwnedFd;
use tee_api::ree::{Installed, MAX_IMAGE_BYTES};
use tee_api::{Identity, Signer, TeeError};

/// The most trusted applications at a time.
const MAX_APPLICATIONS: usize = 32;

impl Os {
    /// Verifies those that came with the system. One that is refused is not there.
    pub(crate) fn take_in(&mut self, applications: &[(&str, &[u8])]) -> Result<(), TeeError> {
        let keys = self.keys()?;
        for (name, image) in applications {
            let program =
                image::verify(image, &keys).map_err(NotRun::Refused).and_then(|program| {
                    if program.name != *name {
                        let reason = format!("{name} is signed as {}", program.name);
                        return Err(NotRun::Refused(Refusal::policy(reason)));
                    }
                    // Without storage nothing is older than what the fuses let boot.
                    match &self.storage {
                        Ok(_) => self.check_age(program),
                        Err(_) => Ok(program),
                    }
                });
            let program = self.report(name, program);
            self.tas.extend(program.ok().map(|program| Ta::new(program, true)));
        }
        Ok(())
    }

    /// Those of the system that run now proved themselves: older ones are refused from now on.
    pub(crate) fn keep_versions(&mut self) -> Result<(), TeeError> {
        let built_in = self.tas.iter().filter(|ta| ta.built_in);
        let seen: Vec<_> = built_in.map(|ta| (ta.identity.owner(), ta.program.version)).collect();
        versions::raise(self.storage.as_mut().map_err(|error| error.clone())?, seen)
    }

    /// Installs the image beside the request of connection `id`.
    pub(super) fn load(&mut self, id: u64, fds: &[OwnedFd]) -> Result<Installed, TeeError> {
        self.check_root(id)?;
        let image = read(fds)?;
        let program = image::verify(&image, &self.keys()?).map_err(NotRun::Refused);
        let name = image::claimed_name(&image).unwrap_or_default();
        drop(image);
        let program = program.and_then(|program| self.check_age(program));
        let program = self.report(&name, program)?;
        let at = self.place(program.identity)?;
        let storage = self.storage.as_mut().map_err(|error| error.clone())?;
        versions::raise(storage, [(program.identity.owner(), program.version)])?;
        self.replace(at, program);
        Ok(self.describe(at))
    }

    /// Forgets a trusted application that was loaded.
    pub(super) fn remove(&mut self, id: u64, identity: Identity) -> Result<(), TeeError> {
        self.check_root(id)?;
        let at = self.of(identity).ok_or_else(|| {
            TeeError::NotFound(format!("trusted application {} of that signer", identity.uuid))
        })?;
        self.check_loaded(at)?;
        self.tas[at].removed = true;
        self.bury(at);
        Ok(())
    }

    /// All that are there.
    pub(super) fn installed(&self) -> Vec<Installed> {
        let there = (0..self.tas.len()).filter(|&at| !self.tas[at].removed);
        there.map(|at| self.describe(at)).collect()
    }

    fn describe(&self, at: usize) -> Installed {
        let ta = &self.tas[at];
        Installed {
            identity: ta.identity,
            name: ta.name().to_owned(),
            version: ta.program.version,
            built_in: ta.built_in,
            sessions: self.sessions_with(at) as u32,
        }
    }

    fn keys(&self) -> Result<Keys, TeeError> {
        let maker = self.silicon.root_key_hashes();
        let maker = maker.map_err(|error| TeeError::Communication(error.to_string()))?;
        Ok(Keys { maker, admitted: self.signers.clone() })
    }

    fn check_age(&self, program: Program) -> Result<Program, NotRun> {
        let storage = self.storage.as_ref().map_err(|error| NotRun::Unknown(error.clone()))?;
        let lowest = versions::lowest(storage, program.identity.owner());
        let lowest = lowest.map_err(NotRun::Unknown)?;
        if program.version >= lowest {
            return Ok(program);
        }
        let reason = format!(
            "{} has version {}, but this device has run version {lowest}",
            program.name, program.version
        );
        Err(NotRun::Refused(Refusal::new("ERROR_ROLLBACK_INDEX", reason)))
    }

    /// Says in the log what a check came to.
    fn report(&self, name: &str, program: Result<Program, NotRun>) -> Result<Program, TeeError> {
        let line = |program: Result<&Program, &Refusal>| match program {
            Ok(program) => report::TrustedApplication {
                name: program.name.clone(),
                uuid: program.identity.uuid.to_string(),
                signer: match &program.identity.signer {
                    Signer::Maker => "maker".to_owned(),
                    Signer::Key(digest) => hex(digest),
                },
                version: program.version,
                digest: hex(&program.digest),
                verdict: Verdict::Verified,
            },
            Err(Refusal { code, reason }) => report::TrustedApplication {
                name: name.to_owned(),
                uuid: String::new(),
                signer: String::new(),
                version: 0,
                digest: String::new(),
                verdict: Verdict::Refused { code: code.clone(), reason: reason.clone() },
            },
        };
        match program {
            Ok(program) => {
                self.log.record(&Record::TrustedApplication(line(Ok(&program))));
                Ok(program)
            }
            Err(NotRun::Refused(refusal)) => {
                self.log.record(&Record::TrustedApplication(line(Err(&refusal))));
                Err(TeeError::Security(refusal.to_string()))
            }
            Err(NotRun::Unknown(error)) => Err(error),
        }
    }

    /// Where a program of this identity goes: in the place of the one that is there, else in a
    /// free one.
    fn place(&self, identity: Identity) -> Result<usize, TeeError> {
        if let Some(at) = self.of(identity) {
            self.check_loaded(at)?;
            return Ok(at);
        }
        let free = self.tas.iter().position(|ta| ta.removed).unwrap_or(self.tas.len());
        if free >= MAX_APPLICATIONS {
            let reason = "no room for one more trusted application: remove one";
            return Err(TeeError::Resources(reason.into()));
        }
        Ok(free)
    }

    fn replace(&mut self, at: usize, program: Program) {
        match self.tas.get_mut(at) {
            // The same build again changes nothing.
            Some(ta) if !ta.removed && ta.program.digest == program.digest => {}
            Some(ta) => {
                // Who waits for a session with the old one does not get the new one unasked.
                ta.removed = true;
                self.bury(at);
                self.tas[at] = Ta::new(program, false);
            }
            None => self.tas.push(Ta::new(program, false)),
        }
    }

    fn of(&self, identity: Identity) -> Option<usize> {
        self.tas.iter().position(|ta| !ta.removed && ta.identity == identity)
    }

    fn check_loaded(&self, at: usize) -> Result<(), TeeError> {
        if self.tas[at].built_in {
            let reason = format!("{} came with the system: update that", self.tas[at].name());
            return Err(TeeError::Denied(reason));
        }
        Ok(())
    }

    /// Only the system's root, and the user who runs the board.
    fn check_root(&self, id: u64) -> Result<(), TeeError> {
        let uid = self.connections.get(&id).map(|connection| connection.peer.uid);
        if uid.is_some_and(|uid| uid == 0 || uid == rustix::process::getuid().as_raw()) {
            return Ok(());
        }
        Err(TeeError::Denied("this is for the system's root".into()))
    }
}

/// Why a program does not run.
enum NotRun {
    /// The verdict, for the log.
    Refused(Refusal),
    /// There is no verdict.
    Unknown(TeeError),
}

/// Copies an image. Only a memfd that is sealed is read: nothing else is sure to give its bytes
/// at once.
fn read(fds: &[OwnedFd]) -> Result<Vec<u8>, TeeError> {
    let bad = |reason: &str| TeeError::BadParameters(format!("the image: {reason}"));
    let [fd] = fds else { return Err(bad("one descriptor goes beside the request")) };
    if !exec::is_sealed(fd) {
        return Err(bad("a memfd is due, sealed against writing, growing and shrinking"));
    }
    let lost = |error: rustix::io::Errno| bad(&error.to_string());
    let size = rustix::fs::fstat(fd).map_err(lost)?.st_size;
    let size = u64::try_from(size).ok().filter(|size| *size <= MAX_IMAGE_BYTES);
    let size = size.ok_or_else(|| bad("more than 16 MiB"))? as usize;
    let mut image = vec![0; size];
    let mut at = 0;
    while at < size {
        match rustix::io::pread(fd, &mut image[at..], at as u64).map_err(lost)? {
            0 => return Err(bad("shorter than it said")),
            count => at += count,
        }
    }
    Ok(image)
}
