//! The board with power.

use crate::address::Address;
use crate::chip::SealedChip;
use crate::commands::{Anchor, NvKind, Object, Tpm};
use crate::error::TpmError;
use crate::measure::{self, CAP, PCR};
use crate::record::{self, Record};
use crate::session::Session;
use board::silicon::{
    CryptoEngine, Engine, Fuses, Huk, LifeCycle, MonotonicCounter, Rpmb, SiliconError, Timer, Trng,
    check_label, check_random,
};
use crypto::digest::Sha256;
use effects::{Clock, Entropy};
use rpmb::RpmbDevice;
use rpmb_chip::FileStore;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// Bits of the fuses: the board was made, it was deployed, a root key was revoked.
pub(crate) const MADE: u64 = 1 << 63;
const DEPLOYED: u64 = 1;
const REVOKED: [u64; 2] = [1 << 1, 1 << 2];

/// The most that a counter rises at once: NV memory wears out.
pub(crate) const MOST_STEPS: u64 = 1024;
/// The file of the chip, and that of its seal.
pub(crate) const CHIP: &str = "rpmb.bin";
pub(crate) const SEAL: &str = "rpmb.seal";

/// A board on a TPM, powered.
pub struct TpmSilicon {
    tpm: Access,
    record: Record,
    chip: Mutex<RpmbDevice<SealedChip<FileStore>>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    powered_at: Duration,
}

impl TpmSilicon {
    /// Powers the board in `folder` up: finds its TPM, measures, checks the record and the chip.
    pub fn power_up(
        folder: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, TpmError> {
        let powered_at = clock.monotonic();
        let (record, mac) = Record::read(folder)?;
        let tpm = Access::find(record::address(folder)?, &record)?;
        let vouched = tpm.huk(Use::Record, &record.encode())?;
        if !crypto::constant_time_eq(&*vouched, &mac) {
            return Err(TpmError::Damaged(folder.join(record::FILE), "its MAC"));
        }
        let chip = Mutex::new(RpmbDevice::new(tpm.open_chip(folder)?));
        Ok(Self { tpm, record, chip, clock, entropy, powered_at })
    }

    /// What [`Fuses::root_key_hashes`] will be once the key in slot `number` is revoked.
    pub fn root_key_hashes_without(&self, number: usize) -> Result<Vec<[u8; 32]>, SiliconError> {
        let gone =
            number.checked_sub(1).and_then(|slot| self.record.root_keys().get(slot).copied());
        let left = self.root_key_hashes()?.into_iter();
        Ok(left.filter(|key| Some(*key) != gone).collect())
    }

    /// Revokes the root key in slot `number` (1 or 2) for good: what it signed does not boot any
    /// more. The last key that counts stays.
    pub fn revoke_root_key(&self, number: usize) -> Result<(), TpmError> {
        let refuse = |reason: &str| Err(TpmError::WriteOnce(reason.into()));
        let keys = self.record.root_keys().len();
        let Some(slot) = number.checked_sub(1).filter(|slot| *slot < keys) else {
            return refuse("this board has no root key in that slot; its slots are 1 and 2");
        };
        let bits = self.tpm.fuses()?;
        if bits & REVOKED[slot] != 0 {
            return refuse("this root key was revoked before");
        }
        if self.counting_keys(bits).len() == 1 {
            return refuse("this is the last root key that counts: without it nothing boots");
        }
        self.tpm.blow(REVOKED[slot])
    }

    fn counting_keys(&self, bits: u64) -> Vec<[u8; 32]> {
        let keys = self.record.root_keys().into_iter().zip(REVOKED);
        keys.filter(|(_, bit)| bits & bit == 0).map(|(key, _)| key).collect()
    }

    fn counter_at(&self, location: u8) -> Result<(&Object, u64), TpmError> {
        let at = usize::from(location);
        let found = self.tpm.counters.get(at).zip(self.record.bases.get(at).copied());
        found.ok_or_else(|| TpmError::WriteOnce(format!("there is no counter {location}")))
    }

    fn raise(&self, location: u8, value: u64) -> Result<(), TpmError> {
        let (index, base) = self.counter_at(location)?;
        self.tpm.in_session(|tpm, session| {
            let old = tpm.read_nv(session, index)?.wrapping_sub(base);
            let steps = value.checked_sub(old).ok_or_else(|| {
                TpmError::WriteOnce(format!(
                    "counter {location} stands at {old} and can't fall to {value}"
                ))
            })?;
            if steps > MOST_STEPS {
                return Err(TpmError::WriteOnce(format!(
                    "counter {location} stands at {old}; a TPM counts by one, and {value} is more \
                     than {MOST_STEPS} away: number builds one after the other"
                )));
            }
            (0..steps).try_for_each(|_| tpm.increment(session, index))
        })
    }
}

/// What the HUK is used for: each has a domain of its own.
#[derive(Clone, Copy)]
pub(crate) enum Use<'a> {
    /// The board's record.
    Record,
    /// The key of the chip's seal.
    Chip,
    /// [`Huk::derive`].
    Derive(&'a str),
    /// [`Huk::mac`].
    Mac(&'a str),
}

impl Use<'_> {
    const fn parts(&self) -> (&'static [u8], &str) {
        match self {
            Self::Record => (b"holdfast-tpm2-record-v1", ""),
            Self::Chip => (b"holdfast-tpm2-chip-v1", ""),
            Self::Derive(label) => (b"holdfast-tpm2-derive-v1", label),
            Self::Mac(label) => (b"holdfast-tpm2-mac-v1", label),
        }
    }
}

/// The board's things in its TPM. Each use connects, does its work and leaves nothing behind.
/// When it is dropped, the PCR is capped.
pub(crate) struct Access {
    address: Address,
    /// One user at a time.
    turn: Mutex<()>,
    pub(crate) anchor: Anchor,
    pub(crate) huk: Object,
    pub(crate) fuses: Object,
    pub(crate) counters: [Object; 2],
    pub(crate) chip: Object,
}

impl Access {
    /// Finds in the TPM at `address` what `record` says, and measures.
    pub(crate) fn find(address: Address, record: &Record) -> Result<Self, TpmError> {
        let mut tpm = connect(&address)?;
        let event = record.event();
        let policy = measure::policy(&event);
        let huk = Object::from(&record.huk);
        let anchor = tpm.anchor(record.anchor.handle).map_err(|it| it.missing("storage key"))?;
        if anchor.object != Object::from(&record.anchor) {
            return Err(TpmError::Foreign("storage key"));
        }
        if tpm.name(huk.handle).map_err(|it| it.missing("hardware unique key"))? != huk.name {
            return Err(TpmError::Foreign("hardware unique key"));
        }
        let [first, second] = record.counters;
        let mut index = |kind: NvKind, handle, what| {
            let name = tpm.nv_name(handle).map_err(|it| it.missing(what))?;
            let object = Object { handle, name: kind.written_name(handle, &policy) };
            if name == object.name { Ok(object) } else { Err(TpmError::Foreign(what)) }
        };
        let fuses = index(NvKind::Bits, record.fuses, "fuses")?;
        let counters = [
            index(NvKind::Counter, first, "counters")?,
            index(NvKind::Counter, second, "counters")?,
        ];
        let chip = index(NvKind::Counter, record.chip, "power-on counter")?;
        let turn = Mutex::new(());
        let access = Self { address, turn, anchor, huk, fuses, counters, chip };
        tpm.reset_pcr(PCR)?;
        tpm.extend_pcr(PCR, &event)?;
        Ok(access)
    }

    /// For a board that is being made: its names are known, its PCR is measured.
    pub(crate) const fn new(
        address: Address,
        anchor: Anchor,
        huk: Object,
        fuses: Object,
        counters: [Object; 2],
        chip: Object,
    ) -> Self {
        Self { address, turn: Mutex::new(()), anchor, huk, fuses, counters, chip }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` in a session of its own.
    pub(crate) fn in_session<T>(
        &self,
        work: impl FnOnce(&mut Tpm, &mut Session) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let _turn = self.turn();
        Tpm::connect(&self.address)?.in_session(&self.anchor, work)
    }

    /// HMAC under the HUK over `data`, for one use. Label and data are hashed first: a TPM takes
    /// 1024 bytes.
    pub(crate) fn huk(&self, use_: Use<'_>, data: &[u8]) -> Result<Zeroizing<[u8; 32]>, TpmError> {
        let (domain, label) = use_.parts();
        let mut hash = Sha256::new();
        hash.update(&(label.len() as u64).to_be_bytes());
        hash.update(label.as_bytes());
        hash.update(data);
        let message = [domain, &hash.finish()].concat();
        self.in_session(|tpm, session| tpm.hmac(session, &self.huk, &message))
    }

    fn fuses(&self) -> Result<u64, TpmError> {
        self.in_session(|tpm, session| tpm.read_nv(session, &self.fuses))
    }

    fn blow(&self, bit: u64) -> Result<(), TpmError> {
        self.in_session(|tpm, session| tpm.set_bits(session, &self.fuses, bit))
    }

    /// Opens the chip and counts this power-on.
    fn open_chip(&self, folder: &Path) -> Result<SealedChip<FileStore>, TpmError> {
        let path = folder.join(CHIP);
        let file = FileStore::open(&path).map_err(|error| TpmError::Io(path, error))?;
        let key = self.huk(Use::Chip, &[])?;
        let counter = self.in_session(|tpm, session| tpm.read_nv(session, &self.chip))?;
        let chip = SealedChip::open(file, &folder.join(SEAL), &key, counter)?;
        let steps = chip.epoch().saturating_sub(counter);
        if steps > MOST_STEPS {
            return Err(TpmError::Chip("its seal is from another time of this TPM"));
        }
        self.in_session(|tpm, session| {
            (0..steps).try_for_each(|_| tpm.increment(session, &self.chip))
        })?;
        Ok(chip)
    }
}

impl Drop for Access {
    /// Power is gone: until the next power-on nobody fulfils the policy. A TPM that does not
    /// answer any more can't be told, and gives nothing either.
    fn drop(&mut self) {
        let _ = Tpm::connect(&self.address).and_then(|mut tpm| tpm.extend_pcr(PCR, &CAP));
    }
}

/// Connects for a power-on. A TPM behind a socket has no resource manager: what a board that was
/// killed left there goes first.
pub(crate) fn connect(address: &Address) -> Result<Tpm, TpmError> {
    /// Transient objects, sessions.
    const LOADED: [u32; 2] = [0x8000_0000, 0x0200_0000];
    const KIND: u32 = 0xff00_0000;
    let mut tpm = Tpm::connect(address)?;
    tpm.startup()?;
    if !matches!(address, Address::Device(_)) {
        for first in LOADED {
            let loaded = tpm.handles(first)?.into_iter();
            // Sessions are listed under the type of HMAC sessions, whatever they are.
            let loaded = loaded.filter(|it| it & KIND == first || first == LOADED[1]);
            loaded.map(|it| tpm.flush(it)).collect::<Result<Vec<()>, _>>()?;
        }
    }
    Ok(tpm)
}

fn refused(error: TpmError) -> SiliconError {
    match error {
        TpmError::Unreachable { .. } => SiliconError::Unreachable(error.to_string()),
        other => SiliconError::Refused(other.to_string()),
    }
}

impl Fuses for TpmSilicon {
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError> {
        self.tpm.fuses().map(|bits| self.counting_keys(bits)).map_err(refused)
    }

    fn serial(&self) -> Result<String, SiliconError> {
        Ok(self.record.serial.clone())
    }

    fn life_cycle(&self) -> Result<LifeCycle, SiliconError> {
        let deployed = self.tpm.fuses().map_err(refused)? & DEPLOYED != 0;
        Ok(if deployed { LifeCycle::Deployed } else { LifeCycle::Factory })
    }

    fn deploy(&self) -> Result<(), SiliconError> {
        if self.life_cycle()? == LifeCycle::Deployed {
            return Err(SiliconError::Refused("the board is deployed already".into()));
        }
        self.tpm.blow(DEPLOYED).map_err(refused)
    }
}

impl Huk for TpmSilicon {
    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError> {
        check_label(label)?;
        self.tpm.huk(Use::Derive(label), context).map(|key| *key).map_err(refused)
    }

    fn mac(&self, label: &str, data: &[u8]) -> Result<[u8; 32], SiliconError> {
        check_label(label)?;
        self.tpm.huk(Use::Mac(label), data).map(|mac| *mac).map_err(refused)
    }
}

impl Trng for TpmSilicon {
    /// The TPM's bytes XOR the system's: as good as the better of the two.
    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError> {
        check_random(bytes)?;
        let mut out = vec![0; bytes];
        self.entropy.fill(&mut out);
        let _turn = self.tpm.turn();
        let mut tpm = Tpm::connect(&self.tpm.address).map_err(refused)?;
        let mut done = 0;
        while done < bytes {
            let more = tpm.random(bytes - done).map_err(refused)?;
            out[done..].iter_mut().zip(&*more).for_each(|(byte, more)| *byte ^= more);
            done += more.len();
        }
        Ok(out)
    }
}

impl MonotonicCounter for TpmSilicon {
    fn counter(&self, location: u8) -> Result<u64, SiliconError> {
        let (index, base) = self.counter_at(location).map_err(refused)?;
        let read = self.tpm.in_session(|tpm, session| tpm.read_nv(session, index));
        read.map(|value| value.wrapping_sub(base)).map_err(refused)
    }

    fn raise_counter(&self, location: u8, value: u64) -> Result<(), SiliconError> {
        self.raise(location, value).map_err(refused)
    }
}

impl Rpmb for TpmSilicon {
    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError> {
        Ok(self.chip.lock().unwrap_or_else(PoisonError::into_inner).exchange(frames))
    }
}

impl CryptoEngine for TpmSilicon {
    fn engine(&self) -> Result<Engine, SiliconError> {
        Ok(Engine::Tpm2)
    }
}

impl Timer for TpmSilicon {
    fn uptime_ms(&self) -> Result<u64, SiliconError> {
        let since = self.clock.monotonic().saturating_sub(self.powered_at);
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
