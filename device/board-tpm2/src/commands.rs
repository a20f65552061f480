//! The commands (Part 3) that this board needs, one method each.

use crate::address::Address;
use crate::code::Code;
use crate::error::TpmError;
use crate::link::{self, Link};
use crate::measure::{SHA256, selection};
use crate::session::{CONTINUE, DECRYPT, ENCRYPT, Salt, Session};
use crate::wire::{Authorisation, Malformed, Reader, Response, Writer, command};
use crypto::digest::sha256;
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// `TPM_RH_OWNER`.
const OWNER: u32 = 0x4000_0001;
/// `TPM_RH_NULL`.
const NULL: u32 = 0x4000_0007;
/// `TPM_ALG_NULL`.
const NONE: u16 = 0x0010;
/// Turns of a command that the TPM wants again, and the wait between them.
const TURNS: u32 = 100;
const TURN: Duration = Duration::from_millis(20);

/// A command: its name in the specification and its code.
#[derive(Clone, Copy)]
struct Call(&'static str, u32);

const EVICT_CONTROL: Call = Call("TPM2_EvictControl", 0x120);
const NV_UNDEFINE_SPACE: Call = Call("TPM2_NV_UndefineSpace", 0x122);
const NV_DEFINE_SPACE: Call = Call("TPM2_NV_DefineSpace", 0x12a);
const CREATE_PRIMARY: Call = Call("TPM2_CreatePrimary", 0x131);
const NV_INCREMENT: Call = Call("TPM2_NV_Increment", 0x134);
const NV_SET_BITS: Call = Call("TPM2_NV_SetBits", 0x135);
const PCR_RESET: Call = Call("TPM2_PCR_Reset", 0x13d);
const STARTUP: Call = Call("TPM2_Startup", 0x144);
const NV_READ: Call = Call("TPM2_NV_Read", 0x14e);
const CREATE: Call = Call("TPM2_Create", 0x153);
const HMAC: Call = Call("TPM2_HMAC", 0x155);
const LOAD: Call = Call("TPM2_Load", 0x157);
const FLUSH_CONTEXT: Call = Call("TPM2_FlushContext", 0x165);
const NV_READ_PUBLIC: Call = Call("TPM2_NV_ReadPublic", 0x169);
const READ_PUBLIC: Call = Call("TPM2_ReadPublic", 0x173);
const START_AUTH_SESSION: Call = Call("TPM2_StartAuthSession", 0x176);
const GET_CAPABILITY: Call = Call("TPM2_GetCapability", 0x17a);
const GET_RANDOM: Call = Call("TPM2_GetRandom", 0x17b);
const POLICY_PCR: Call = Call("TPM2_PolicyPCR", 0x17f);
const PCR_EXTEND: Call = Call("TPM2_PCR_Extend", 0x182);

/// The name of an object or NV index: what it is, hashed (Part 1, 16).
pub type Name = Vec<u8>;

/// An object's handle and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub handle: u32,
    /// What it is.
    pub name: Name,
}

/// The storage key that sessions are salted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Handle and name.
    pub object: Object,
    x: [u8; 32],
    y: [u8; 32],
}

/// What an NV index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NvKind {
    /// A number of 64 bits that rises by one (`TPM_NT_COUNTER`).
    Counter,
    /// 64 bits that can be set and not be cleared (`TPM_NT_BITS`).
    Bits,
}

impl NvKind {
    /// Whoever fulfils the policy writes and reads; everybody may read; no dictionary attack.
    const ATTRIBUTES: u32 = 0x8 | 0x8_0000 | 0x4_0000 | 0x2_0000 | 0x200_0000;
    const WRITTEN: u32 = 0x2000_0000;

    const fn attributes(self) -> u32 {
        Self::ATTRIBUTES | if matches!(self, Self::Counter) { 0x10 } else { 0x20 }
    }

    /// TPMS_NV_PUBLIC.
    fn public(self, index: u32, attributes: u32, policy: &[u8; 32]) -> Writer {
        Writer::new().u32(index).u16(SHA256).u32(attributes).sized(policy).u16(8)
    }

    /// The name of such an index at `index` once it has been written.
    #[must_use]
    pub fn written_name(self, index: u32, policy: &[u8; 32]) -> Name {
        name_of(self.public(index, self.attributes() | Self::WRITTEN, policy).bytes())
    }

    fn unwritten_name(self, index: u32, policy: &[u8; 32]) -> Name {
        name_of(self.public(index, self.attributes(), policy).bytes())
    }
}

fn name_of(public: &[u8]) -> Name {
    [&SHA256.to_be_bytes()[..], &sha256(public)].concat()
}

/// A TPM, while a connection to it is open.
pub struct Tpm {
    link: Box<dyn Link>,
    address: Address,
}

impl Tpm {
    /// Connects to the TPM at `address`.
    pub fn connect(address: &Address) -> Result<Self, TpmError> {
        Ok(Self { link: link::open(address)?, address: address.clone() })
    }

    /// Speaks over `link`, as if it led to `address`.
    #[must_use]
    pub fn over(link: Box<dyn Link>, address: Address) -> Self {
        Self { link, address }
    }

    /// Sends a command until the TPM does not want it again; success or error.
    fn send(
        &mut self,
        call: Call,
        handles: &[u32],
        authorisation: &Authorisation<'_>,
        parameters: &[u8],
        gives_handle: bool,
    ) -> Result<Answer, TpmError> {
        let bytes = command(call.1, handles, authorisation, parameters);
        let had_session = !matches!(authorisation, Authorisation::None);
        for _ in 0..TURNS {
            let answer = self.link.transmit(&bytes);
            let answer = answer.map_err(|error| link::unreachable(&self.address, error))?;
            let answer = Answer(Zeroizing::new(answer), gives_handle, had_session);
            let code = answer.parse()?.code;
            if code == 0 {
                return Ok(answer);
            }
            if !Code::of(code).asks_again() {
                return Err(TpmError::from_code(call.0, code));
            }
            thread::sleep(TURN);
        }
        Err(TpmError::NoRoom(call.0))
    }

    fn plain(&mut self, call: Call, handles: &[u32], out: &Writer) -> Result<Answer, TpmError> {
        self.send(call, handles, &Authorisation::None, out.bytes(), false)
    }

    fn with_password(
        &mut self,
        call: Call,
        handles: &[u32],
        out: &Writer,
        gives_handle: bool,
    ) -> Result<Answer, TpmError> {
        self.send(call, handles, &Authorisation::Password, out.bytes(), gives_handle)
    }

    /// A command that `session` authorises. The handles come with their names.
    fn with_session(
        &mut self,
        call: Call,
        session: &mut Session,
        objects: &[&Object],
        attributes: u8,
        mut out: Writer,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let handles: Vec<u32> = objects.iter().map(|object| object.handle).collect();
        let names: Vec<&[u8]> = objects.iter().map(|object| &object.name[..]).collect();
        let attributes = attributes | CONTINUE;
        let (nonce, hmac) = session.prove(call.1, &names, attributes, out.bytes_mut())?;
        let handle = session.handle;
        let authorisation =
            Authorisation::Session { handle, nonce: &nonce, attributes, hmac: &hmac };
        let answer = self.send(call, &handles, &authorisation, out.bytes(), false)?;
        let answer = answer.parse()?;
        let said = answer.session.ok_or(Malformed("no session"))?;
        if said.attributes & ENCRYPT != attributes & ENCRYPT {
            return Err(TpmError::Forged);
        }
        session.believe(call.1, answer.parameters, &said)
    }

    /// Starts a TPM that nobody has started since its reset (`TPM2_Startup`).
    pub fn startup(&mut self) -> Result<(), TpmError> {
        match self.plain(STARTUP, &[], &Writer::new().u16(0)) {
            Err(TpmError::Refused { code, .. }) if Code::of(code) == Code::INITIALIZE => Ok(()),
            result => result.map(drop),
        }
    }

    /// At most 32 random bytes (`TPM2_GetRandom`).
    pub fn random(&mut self, bytes: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let count = bytes.min(32) as u16;
        let answer = self.plain(GET_RANDOM, &[], &Writer::new().u16(count))?;
        let mut reader = answer.reader()?;
        let random = reader.sized()?;
        reader.end()?;
        if random.is_empty() || random.len() > usize::from(count) {
            return Err(Malformed("random bytes").into());
        }
        Ok(Zeroizing::new(random.to_vec()))
    }

    /// Sets a PCR to zeros (`TPM2_PCR_Reset`).
    pub fn reset_pcr(&mut self, pcr: u32) -> Result<(), TpmError> {
        self.with_password(PCR_RESET, &[pcr], &Writer::new(), false).map(drop)
    }

    /// Extends a PCR's SHA-256 bank (`TPM2_PCR_Extend`).
    pub fn extend_pcr(&mut self, pcr: u32, event: &[u8; 32]) -> Result<(), TpmError> {
        let digests = Writer::new().u32(1).u16(SHA256).raw(event);
        self.with_password(PCR_EXTEND, &[pcr], &digests, false).map(drop)
    }

    /// Handles that are in use, from `first` on, as many as the TPM names at once
    /// (`TPM2_GetCapability`, `TPM_CAP_HANDLES`).
    pub fn handles(&mut self, first: u32) -> Result<Vec<u32>, TpmError> {
        let asked = Writer::new().u32(1).u32(first).u32(254);
        let answer = self.plain(GET_CAPABILITY, &[], &asked)?;
        let mut reader = answer.reader()?;
        let (_more, capability, count) = (reader.u8()?, reader.u32()?, reader.u32()?);
        if capability != 1 || count > 254 {
            return Err(Malformed("a list of handles").into());
        }
        let handles = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(handles)
    }

    /// Forgets a session or a transient object (`TPM2_FlushContext`).
    pub fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        self.plain(FLUSH_CONTEXT, &[], &Writer::new().u32(handle)).map(drop)
    }

    /// Does `work` with a session that fulfils the policy of the boot chain and is salted with
    /// `anchor`. No session is left behind, whatever happens.
    pub fn in_session<T>(
        &mut self,
        anchor: &Anchor,
        work: impl FnOnce(&mut Self, &mut Session) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let mut session = self.start_session(anchor)?;
        let result = work(self, &mut session);
        let flushed = self.flush(session.handle);
        result.and_then(|value| flushed.map(|()| value))
    }

    fn start_session(&mut self, anchor: &Anchor) -> Result<Session, TpmError> {
        /// `TPM_SE_POLICY`, `TPM_ALG_XOR`.
        const POLICY: u8 = 1;
        const XOR: u16 = 0x000a;
        let salt = Salt::agree(&anchor.x, &anchor.y)?;
        let nonce: [u8; 32] = crypto::random_array();
        let out = Writer::new().sized(&nonce).sized(&salt.encrypted).u8(POLICY);
        let out = out.u16(XOR).u16(SHA256).u16(SHA256);
        let handles = [anchor.object.handle, NULL];
        let none = Authorisation::None;
        let answer = self.send(START_AUTH_SESSION, &handles, &none, out.bytes(), true)?;
        let handle = answer.parse()?.handle.ok_or(Malformed("no session"))?;
        let mut reader = answer.reader()?;
        let nonce_tpm = reader.sized()?;
        reader.end()?;
        Ok(Session::new(handle, salt.key(nonce_tpm, &nonce)?, nonce_tpm))
    }

    /// Fulfils the policy of the boot chain, for one command (`TPM2_PolicyPCR`).
    fn policy_pcr(&mut self, session: &Session) -> Result<(), TpmError> {
        let out = Writer::new().sized(&[]).raw(selection().bytes());
        self.plain(POLICY_PCR, &[session.handle], &out).map(drop)
    }

    /// HMAC-SHA-256 of at most 1024 bytes under the key `key` (`TPM2_HMAC`), hidden on the bus.
    pub fn hmac(
        &mut self,
        session: &mut Session,
        key: &Object,
        data: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, TpmError> {
        self.policy_pcr(session)?;
        let out = Writer::new().sized(data).u16(SHA256);
        let answer = self.with_session(HMAC, session, &[key], DECRYPT | ENCRYPT, out)?;
        let mut reader = Reader::new(&answer);
        let mac = reader.sized()?.try_into().map_err(|_| Malformed("an HMAC of another size"))?;
        reader.end()?;
        Ok(Zeroizing::new(mac))
    }

    /// Makes the storage key of the owner hierarchy (`TPM2_CreatePrimary`) and keeps it at a free
    /// persistent handle. The template is the TCG's for ECC P-256 (EK Credential Profile, H-2's
    /// storage counterpart: Provisioning Guidance 7.5.1).
    pub fn make_anchor(&mut self) -> Result<Anchor, TpmError> {
        /// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
        const ATTRIBUTES: u32 = 0x2 | 0x10 | 0x20 | 0x40 | 0x400 | 0x1_0000 | 0x2_0000;
        const ECC: u16 = 0x0023;
        const P256: u16 = 0x0003;
        const AES_128_CFB: [u16; 3] = [0x0006, 128, 0x0043];
        let mut public = Writer::new().u16(ECC).u16(SHA256).u32(ATTRIBUTES).sized(&[]);
        for field in AES_128_CFB {
            public = public.u16(field);
        }
        let public = public.u16(NONE).u16(P256).u16(NONE).sized(&[]).sized(&[]);
        let answer = self.with_password(CREATE_PRIMARY, &[OWNER], &creation(&public), true)?;
        let transient = answer.parse()?.handle.ok_or(Malformed("no object"))?;
        self.persist(transient, "storage key").and_then(|handle| self.anchor(handle))
    }

    /// The storage key at `handle`.
    pub fn anchor(&mut self, handle: u32) -> Result<Anchor, TpmError> {
        let answer = self.plain(READ_PUBLIC, &[handle], &Writer::new())?;
        let mut reader = answer.reader()?;
        let (public, name, _qualified) = (reader.sized()?, reader.sized()?, reader.sized()?);
        reader.end()?;
        if name != name_of(public) {
            return Err(TpmError::Foreign("storage key"));
        }
        let (x, y) = point_of(public)?;
        Ok(Anchor { object: Object { handle, name: name.to_vec() }, x, y })
    }

    /// Makes an HMAC key that never leaves the TPM and works under `policy` alone
    /// (`TPM2_Create`, `TPM2_Load`), and keeps it at a free persistent handle.
    pub fn make_hmac_key(&mut self, parent: u32, policy: &[u8; 32]) -> Result<Object, TpmError> {
        /// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, noDA, sign.
        const ATTRIBUTES: u32 = 0x2 | 0x10 | 0x20 | 0x80 | 0x400 | 0x4_0000;
        const KEYED_HASH: u16 = 0x0008;
        const HMAC_SCHEME: u16 = 0x0005;
        let public = Writer::new().u16(KEYED_HASH).u16(SHA256).u32(ATTRIBUTES).sized(policy);
        let public = public.u16(HMAC_SCHEME).u16(SHA256).sized(&[]);
        let made = self.with_password(CREATE, &[parent], &creation(&public), false)?;
        let mut reader = made.reader()?;
        let (private, public) = (reader.sized()?, reader.sized()?);
        let out = Writer::new().sized(private).sized(public);
        let loaded = self.with_password(LOAD, &[parent], &out, true)?;
        let transient = loaded.parse()?.handle.ok_or(Malformed("no object"))?;
        let name = name_of(public);
        let handle = self.persist(transient, "hardware unique key")?;
        Ok(Object { handle, name })
    }

    /// The name of the object at `handle`, as the TPM says (`TPM2_ReadPublic`).
    pub fn name(&mut self, handle: u32) -> Result<Name, TpmError> {
        let answer = self.plain(READ_PUBLIC, &[handle], &Writer::new())?;
        let mut reader = answer.reader()?;
        reader.sized()?;
        Ok(reader.sized()?.to_vec())
    }

    /// Keeps a transient object at a free persistent handle and flushes the transient one.
    fn persist(&mut self, transient: u32, what: &'static str) -> Result<u32, TpmError> {
        /// Where Holdfast's objects start.
        const FIRST: u32 = 0x8100_4800;
        let result = self.handles(FIRST).and_then(|used| {
            let free = (FIRST..FIRST + 0x100).find(|handle| !used.contains(handle));
            let handle = free.ok_or(TpmError::NoRoom(what))?;
            self.evict_control(transient, handle).map(|()| handle)
        });
        let flushed = self.flush(transient);
        result.and_then(|handle| flushed.map(|()| handle))
    }

    fn evict_control(&mut self, object: u32, persistent: u32) -> Result<(), TpmError> {
        let out = Writer::new().u32(persistent);
        self.with_password(EVICT_CONTROL, &[OWNER, object], &out, false).map(drop)
    }

    /// Forgets the persistent object at `handle` for good.
    pub fn evict(&mut self, handle: u32) -> Result<(), TpmError> {
        self.evict_control(handle, handle)
    }

    /// Makes an NV index at a free place; only whoever fulfils `policy` writes it
    /// (`TPM2_NV_DefineSpace`).
    pub fn define(&mut self, kind: NvKind, policy: &[u8; 32]) -> Result<Object, TpmError> {
        /// Where Holdfast's indexes start: in the owner's range.
        const FIRST: u32 = 0x0180_4800;
        let used = self.handles(FIRST)?;
        let free = (FIRST..FIRST + 0x100).find(|index| !used.contains(index));
        let handle = free.ok_or(TpmError::NoRoom("an NV index"))?;
        let public = kind.public(handle, kind.attributes(), policy);
        let out = Writer::new().sized(&[]).sized(public.bytes());
        self.with_password(NV_DEFINE_SPACE, &[OWNER], &out, false)?;
        Ok(Object { handle, name: kind.unwritten_name(handle, policy) })
    }

    /// Removes an NV index (`TPM2_NV_UndefineSpace`).
    pub fn undefine(&mut self, index: u32) -> Result<(), TpmError> {
        self.with_password(NV_UNDEFINE_SPACE, &[OWNER, index], &Writer::new(), false).map(drop)
    }

    /// The name of an NV index (`TPM2_NV_ReadPublic`).
    pub fn nv_name(&mut self, index: u32) -> Result<Name, TpmError> {
        let answer = self.plain(NV_READ_PUBLIC, &[index], &Writer::new())?;
        let mut reader = answer.reader()?;
        let (public, name) = (reader.sized()?, reader.sized()?);
        reader.end()?;
        if name == name_of(public) { Ok(name.to_vec()) } else { Err(TpmError::Forged) }
    }

    /// Raises a counter by one (`TPM2_NV_Increment`).
    pub fn increment(&mut self, session: &mut Session, index: &Object) -> Result<(), TpmError> {
        self.policy_pcr(session)?;
        self.with_session(NV_INCREMENT, session, &[index, index], 0, Writer::new()).map(drop)
    }

    /// Sets bits in a bit field (`TPM2_NV_SetBits`).
    pub fn set_bits(
        &mut self,
        session: &mut Session,
        index: &Object,
        bits: u64,
    ) -> Result<(), TpmError> {
        self.policy_pcr(session)?;
        let out = Writer::new().u64(bits);
        self.with_session(NV_SET_BITS, session, &[index, index], 0, out).map(drop)
    }

    /// The 64 bits of an NV index (`TPM2_NV_Read`).
    pub fn read_nv(&mut self, session: &mut Session, index: &Object) -> Result<u64, TpmError> {
        self.policy_pcr(session)?;
        let out = Writer::new().u16(8).u16(0);
        let answer = self.with_session(NV_READ, session, &[index, index], ENCRYPT, out)?;
        let mut reader = Reader::new(&answer);
        let value = reader.sized()?.try_into().map(u64::from_be_bytes);
        reader.end()?;
        Ok(value.map_err(|_| Malformed("an NV index of another size"))?)
    }
}

/// The point in a TPMT_PUBLIC of an ECC storage key with our template.
fn point_of(public: &[u8]) -> Result<([u8; 32], [u8; 32]), Malformed> {
    let mut reader = Reader::new(public);
    // Type, hash, attributes; the policy; cipher with key size and mode, scheme, curve, KDF.
    reader.take(8)?;
    reader.sized()?;
    reader.take(12)?;
    let mut coordinate = || -> Result<[u8; 32], Malformed> {
        // Some chips leave leading zeros out.
        let number = reader.sized()?;
        let zeros = 32_usize.checked_sub(number.len()).ok_or(Malformed("a coordinate"))?;
        let mut padded = [0; 32];
        padded[zeros..].copy_from_slice(number);
        Ok(padded)
    };
    let point = (coordinate()?, coordinate()?);
    reader.end()?;
    Ok(point)
}

/// The parameters of `TPM2_CreatePrimary` and `TPM2_Create`: no password, no data, no PCRs.
fn creation(public: &Writer) -> Writer {
    let sensitive = Writer::new().sized(&[]).sized(&[]);
    Writer::new().sized(sensitive.bytes()).sized(public.bytes()).sized(&[]).u32(0)
}

/// The bytes of a successful answer, and how they are to be read.
struct Answer(Zeroizing<Vec<u8>>, bool, bool);

impl Answer {
    fn parse(&self) -> Result<Response<'_>, Malformed> {
        Response::parse(&self.0, self.1, self.2)
    }

    fn reader(&self) -> Result<Reader<'_>, Malformed> {
        self.parse().map(|response| Reader::new(response.parameters))
    }
}

#[cfg(test)]
mod tests;
