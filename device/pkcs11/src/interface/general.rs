//! General purpose, slots and tokens (PKCS #11 3.0, 5.4 and 5.5).

use crate::border::{MAX_PIN_BYTES, array, functions, padded, pin, place};
use crate::error::{Result, Rv, ensure, fail};
use crate::mechanism::{Entry, MECHANISMS};
use crate::module::{Module, SLOT};
use crate::token::{PinState, Role, Status};
use cryptoki_sys::*;

/// The fewest bytes of a PIN.
pub(super) const MIN_PIN_BYTES: usize = 4;

const MANUFACTURER: &str = "Holdfast";
const VERSION: CK_VERSION = CK_VERSION { major: 0, minor: 1 };

functions! {
    /// `C_Initialize` (5.4.1).
    fn C_Initialize(arguments: *mut std::ffi::c_void) {
        if !arguments.is_null() {
            check(place(arguments.cast::<CK_C_INITIALIZE_ARGS>())?)?;
        }
        Module::initialise()
    }

    /// `C_Finalize` (5.4.2).
    fn C_Finalize(reserved: *mut std::ffi::c_void) {
        ensure(reserved.is_null(), CKR_ARGUMENTS_BAD)?;
        Module::finalise()
    }

    /// `C_GetInfo` (5.4.3).
    fn C_GetInfo(info: *mut CK_INFO) {
        Module::get()?;
        *place(info)? = CK_INFO {
            cryptokiVersion: CK_VERSION { major: 3, minor: 0 },
            manufacturerID: padded(MANUFACTURER),
            flags: 0,
            libraryDescription: padded("Keys in the device's TEE"),
            libraryVersion: VERSION,
        };
        Ok(())
    }

    /// `C_GetSlotList` (5.5.1).
    fn C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) {
        let module = Module::get()?;
        let count = place(count)?;
        let there = present == CK_FALSE || module.token.is_present();
        let all: &[CK_SLOT_ID] = if there { &[SLOT] } else { &[] };
        list(all, slots, count)
    }

    /// `C_GetSlotInfo` (5.5.2).
    fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) {
        let module = Module::slot(slot)?;
        let info = place(info)?;
        // The device may be off, and come back.
        let present = if module.token.is_present() { CKF_TOKEN_PRESENT } else { 0 };
        *info = CK_SLOT_INFO {
            slotDescription: padded("Holdfast device"),
            manufacturerID: padded(MANUFACTURER),
            flags: CKF_HW_SLOT | CKF_REMOVABLE_DEVICE | present,
            hardwareVersion: VERSION,
            firmwareVersion: VERSION,
        };
        Ok(())
    }

    /// `C_GetTokenInfo` (5.5.3).
    fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) {
        let module = Module::slot(slot)?;
        let info = place(info)?;
        *info = token_info(module, &module.token.status()?);
        Ok(())
    }

    /// `C_WaitForSlotEvent` (5.5.4).
    fn C_WaitForSlotEvent(
        flags: CK_FLAGS,
        slot: *mut CK_SLOT_ID,
        reserved: *mut std::ffi::c_void,
    ) {
        Module::get()?;
        place(slot)?;
        ensure(reserved.is_null(), CKR_ARGUMENTS_BAD)?;
        // Nobody could wake who waits.
        fail(if flags & CKF_DONT_BLOCK != 0 { CKR_NO_EVENT } else { CKR_FUNCTION_NOT_SUPPORTED })
    }

    /// `C_GetMechanismList` (5.5.5).
    fn C_GetMechanismList(
        slot: CK_SLOT_ID,
        mechanisms: *mut CK_MECHANISM_TYPE,
        count: *mut CK_ULONG,
    ) {
        Module::slot(slot)?;
        let all: Vec<_> = MECHANISMS.iter().map(|entry| entry.code).collect();
        list(&all, mechanisms, place(count)?)
    }

    /// `C_GetMechanismInfo` (5.5.6).
    fn C_GetMechanismInfo(
        slot: CK_SLOT_ID,
        mechanism: CK_MECHANISM_TYPE,
        info: *mut CK_MECHANISM_INFO,
    ) {
        Module::slot(slot)?;
        let info = place(info)?;
        *info = Entry::find(mechanism)?.info();
        Ok(())
    }

    /// `C_InitToken` (5.5.7).
    fn C_InitToken(
        slot: CK_SLOT_ID,
        officer: *mut CK_UTF8CHAR,
        length: CK_ULONG,
        label: *mut CK_UTF8CHAR,
    ) {
        let module = Module::slot(slot)?;
        let pin = long_enough(pin(officer, length)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?)?;
        let label = array(label, 32, 32)?;
        let label = std::str::from_utf8(label).map_err(|_| Rv(CKR_ARGUMENTS_BAD))?;
        ensure(module.all_sessions().is_empty(), CKR_SESSION_EXISTS)?;
        module.token.initialise(pin, label.trim_end())?;
        module.objects.retain(|_| false);
        Ok(())
    }

    /// `C_InitPIN` (5.5.8). Without a PIN, the screen lock's counts from now on.
    fn C_InitPIN(session: CK_SESSION_HANDLE, new: *mut CK_UTF8CHAR, length: CK_ULONG) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let new = pin(new, length)?.map(long_enough).transpose()?;
        ensure(session.writes, CKR_SESSION_READ_ONLY)?;
        let secret = module.login_secret(Role::Officer).ok_or(Rv(CKR_USER_NOT_LOGGED_IN))?;
        module.token.set_pin(Role::User, &secret, new)
    }

    /// `C_SetPIN` (5.5.9): of who is logged in, or the user's. No PIN is the screen lock's.
    fn C_SetPIN(
        session: CK_SESSION_HANDLE,
        old: *mut CK_UTF8CHAR,
        old_length: CK_ULONG,
        new: *mut CK_UTF8CHAR,
        new_length: CK_ULONG,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let old = pin(old, old_length)?;
        let new = pin(new, new_length)?.map(long_enough).transpose()?;
        ensure(session.writes, CKR_SESSION_READ_ONLY)?;
        let role = module.role().unwrap_or(Role::User);
        ensure(new.is_some() || role == Role::User, CKR_ARGUMENTS_BAD)?;
        let secret = module.token.log_in(role, old)?;
        module.token.set_pin(role, &secret, new)
    }
}

/// The program's mutexes are not needed: the system's serve as well. It must not forbid those.
fn check(arguments: &CK_C_INITIALIZE_ARGS) -> Result<()> {
    ensure(arguments.pReserved.is_null(), CKR_ARGUMENTS_BAD)?;
    let given = [
        arguments.CreateMutex.is_some(),
        arguments.DestroyMutex.is_some(),
        arguments.LockMutex.is_some(),
        arguments.UnlockMutex.is_some(),
    ];
    let all = given.iter().all(|is| *is);
    let none = given.iter().all(|is| !is);
    ensure(all || none, CKR_ARGUMENTS_BAD)?;
    let only_its_own = all && arguments.flags & CKF_OS_LOCKING_OK == 0;
    ensure(!only_its_own, CKR_CANT_LOCK)
}

/// # Safety
/// As many values as `count` says fit behind `at`, which may be null.
pub(super) unsafe fn list<T: Copy>(all: &[T], at: *mut T, count: &mut CK_ULONG) -> Result<()> {
    let room = std::mem::replace(count, all.len() as CK_ULONG);
    if at.is_null() {
        return Ok(());
    }
    ensure(room >= all.len() as CK_ULONG, CKR_BUFFER_TOO_SMALL)?;
    ensure(at.is_aligned(), CKR_ARGUMENTS_BAD)?;
    // SAFETY: so many fit.
    unsafe { std::ptr::copy_nonoverlapping(all.as_ptr(), at, all.len()) };
    Ok(())
}

/// A PIN that is to be.
fn long_enough(pin: &[u8]) -> Result<&[u8]> {
    ensure(pin.len() >= MIN_PIN_BYTES, CKR_PIN_LEN_RANGE)?;
    Ok(pin)
}

fn token_info(module: &Module, status: &Status) -> CK_TOKEN_INFO {
    let sessions = module.all_sessions();
    let writing = sessions.iter().filter(|session| session.writes).count();
    let unknown = CK_UNAVAILABLE_INFORMATION;
    CK_TOKEN_INFO {
        label: padded(&status.label),
        manufacturerID: padded(MANUFACTURER),
        model: padded("TEE"),
        serialNumber: padded(&status.serial),
        flags: token_flags(status),
        ulMaxSessionCount: CK_EFFECTIVELY_INFINITE,
        ulSessionCount: sessions.len() as CK_ULONG,
        ulMaxRwSessionCount: CK_EFFECTIVELY_INFINITE,
        ulRwSessionCount: writing as CK_ULONG,
        ulMaxPinLen: MAX_PIN_BYTES as CK_ULONG,
        ulMinPinLen: MIN_PIN_BYTES as CK_ULONG,
        ulTotalPublicMemory: unknown,
        ulFreePublicMemory: unknown,
        ulTotalPrivateMemory: unknown,
        ulFreePrivateMemory: unknown,
        hardwareVersion: VERSION,
        firmwareVersion: VERSION,
        utcTime: [b' '; 16],
    }
}

fn token_flags(status: &Status) -> CK_FLAGS {
    let mut flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_DUAL_CRYPTO_OPERATIONS;
    let mut set = |holds: bool, flag| flags |= if holds { flag } else { 0 };
    set(status.initialised, CKF_TOKEN_INITIALIZED);
    set(status.user.set, CKF_USER_PIN_INITIALIZED);
    set(status.user.on_screen, CKF_PROTECTED_AUTHENTICATION_PATH);
    let low = |pin: PinState| pin.set && pin.attempts < pin.limit;
    for (pin, counts, last, locked) in [
        (status.user, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED),
        (status.officer, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED),
    ] {
        set(low(pin), counts);
        set(pin.set && pin.attempts == 1, last);
        set(pin.set && pin.attempts == 0, locked);
    }
    flags
}
