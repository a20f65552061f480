//! What there is between `C_Initialize` and `C_Finalize`.

use crate::error::{Result, Rv, ensure, fail};
use crate::key::Key;
use crate::keyforms;
use crate::object::{Object, Objects};
use crate::session::Session;
use crate::token::{Role, Token, TokenSecret};
use cryptoki_sys::*;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// The only slot: the device.
pub(crate) const SLOT: CK_SLOT_ID = 0;

/// The module while it is initialised.
pub(crate) struct Module {
    /// The process that initialised it. A fork's child shares memory and connections that it must
    /// not touch.
    pid: u32,
    pub(crate) token: Box<dyn Token>,
    pub(crate) objects: Objects,
    sessions: RwLock<HashMap<CK_SESSION_HANDLE, Arc<Session>>>,
    last_session: AtomicU64,
    login: Mutex<Option<Login>>,
}

/// Who is logged in. PKCS #11 has one login for all sessions of a process.
#[derive(Clone)]
struct Login {
    role: Role,
    secret: Arc<TokenSecret>,
}

/// A module is never freed: another thread may be in a call when `C_Finalize` comes. It gives up
/// all that it holds, and leaves the size of this structure behind.
static CURRENT: AtomicPtr<Module> = AtomicPtr::new(ptr::null_mut());

static MAKER: OnceLock<fn() -> Box<dyn Token>> = OnceLock::new();

/// Serves another token than the device's: for tests of what is in front of it. Has an effect
/// before the first `C_Initialize` only.
pub fn serve(make: fn() -> Box<dyn Token>) {
    let _ = MAKER.set(make);
}

fn current() -> Option<&'static Module> {
    // SAFETY: the pointer is null or of a module that was leaked.
    let module = unsafe { CURRENT.load(Ordering::Acquire).as_ref() }?;
    (module.pid == std::process::id()).then_some(module)
}

impl Module {
    /// The one that this process initialised.
    pub(crate) fn get() -> Result<&'static Self> {
        current().ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))
    }

    /// `C_Initialize`.
    pub(crate) fn initialise() -> Result<()> {
        let before = CURRENT.load(Ordering::Acquire);
        ensure(current().is_none(), CKR_CRYPTOKI_ALREADY_INITIALIZED)?;
        let make = MAKER.get_or_init(|| crate::device::token);
        let module = Box::into_raw(Box::new(Self {
            pid: std::process::id(),
            token: make(),
            objects: Objects::default(),
            sessions: RwLock::default(),
            last_session: AtomicU64::new(0),
            login: Mutex::default(),
        }));
        let swapped = CURRENT.compare_exchange(before, module, Ordering::AcqRel, Ordering::Acquire);
        if swapped.is_err() {
            // SAFETY: nobody else saw it.
            drop(unsafe { Box::from_raw(module) });
            return fail(CKR_CRYPTOKI_ALREADY_INITIALIZED);
        }
        Ok(())
    }

    /// `C_Finalize`.
    pub(crate) fn finalise() -> Result<()> {
        let module = Self::get()?;
        let this = ptr::from_ref(module).cast_mut();
        let swapped =
            CURRENT.compare_exchange(this, ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire);
        ensure(swapped.is_ok(), CKR_CRYPTOKI_NOT_INITIALIZED)?;
        module.close_all();
        module.objects.retain(|_| false);
        Ok(())
    }

    /// The slot, if it is that.
    pub(crate) fn slot(slot: CK_SLOT_ID) -> Result<&'static Self> {
        let module = Self::get()?;
        ensure(slot == SLOT, CKR_SLOT_ID_INVALID)?;
        Ok(module)
    }

    // sessions

    /// `C_OpenSession`.
    pub(crate) fn open_session(&self, writes: bool) -> Result<CK_SESSION_HANDLE> {
        let officer = self.role() == Some(Role::Officer);
        ensure(writes || !officer, CKR_SESSION_READ_WRITE_SO_EXISTS)?;
        let handle = self.last_session.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Session::new(handle, writes));
        self.sessions_mut().insert(handle, session);
        Ok(handle)
    }

    /// `C_CloseSession`. The last one ends the login.
    pub(crate) fn close_session(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let (session, last) = {
            let mut sessions = self.sessions_mut();
            let session = sessions.remove(&handle).ok_or(Rv(CKR_SESSION_HANDLE_INVALID))?;
            (session, sessions.is_empty())
        };
        session.cancel_all();
        self.objects.retain(|object| object.place != crate::object::Place::Session(handle));
        if last {
            self.forget_login();
        }
        Ok(())
    }

    /// `C_CloseAllSessions`.
    pub(crate) fn close_all(&self) {
        let handles: Vec<_> = self.all_sessions().iter().map(|session| session.handle).collect();
        for handle in handles {
            // Somebody else may have closed it.
            let _ = self.close_session(handle);
        }
    }

    /// A session by its handle.
    pub(crate) fn session(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&handle).cloned().ok_or(Rv(CKR_SESSION_HANDLE_INVALID))
    }

    /// All sessions.
    pub(crate) fn all_sessions(&self) -> Vec<Arc<Session>> {
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        sessions.values().cloned().collect()
    }

    fn sessions_mut(
        &self,
    ) -> std::sync::RwLockWriteGuard<'_, HashMap<CK_SESSION_HANDLE, Arc<Session>>> {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner)
    }

    // login

    fn login_lock(&self) -> MutexGuard<'_, Option<Login>> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is logged in.
    pub(crate) fn role(&self) -> Option<Role> {
        self.login_lock().as_ref().map(|login| login.role)
    }

    /// What private objects depend on, where the user is logged in.
    pub(crate) fn user_secret(&self) -> Option<Arc<TokenSecret>> {
        let login = self.login_lock();
        let user = login.as_ref().filter(|login| login.role == Role::User)?;
        Some(Arc::clone(&user.secret))
    }

    /// What the officer or the user who is logged in may change PINs with.
    pub(crate) fn login_secret(&self, role: Role) -> Option<Arc<TokenSecret>> {
        let login = self.login_lock();
        login.as_ref().filter(|login| login.role == role).map(|login| Arc::clone(&login.secret))
    }

    /// `C_Login`.
    pub(crate) fn log_in(&self, role: Role, pin: Option<&[u8]>) -> Result<()> {
        match self.role() {
            Some(now) if now == role => return fail(CKR_USER_ALREADY_LOGGED_IN),
            Some(_) => return fail(CKR_USER_ANOTHER_ALREADY_LOGGED_IN),
            None => {}
        }
        if role == Role::Officer {
            let writes = self.all_sessions().iter().all(|session| session.writes);
            ensure(writes, CKR_SESSION_READ_ONLY_EXISTS)?;
        }
        let secret = Arc::new(self.token.log_in(role, pin)?);
        let mut login = self.login_lock();
        ensure(login.is_none(), CKR_USER_ALREADY_LOGGED_IN)?;
        *login = Some(Login { role, secret });
        Ok(())
    }

    /// `C_Logout`.
    pub(crate) fn log_out(&self) -> Result<()> {
        ensure(self.role().is_some(), CKR_USER_NOT_LOGGED_IN)?;
        self.forget_login();
        Ok(())
    }

    /// Private objects leave: handles of them are handles of nothing from now on.
    fn forget_login(&self) {
        *self.login_lock() = None;
        for session in self.all_sessions() {
            session.cancel_all();
        }
        self.objects.retain(|object| object.is_visible(false));
        for object in self.objects.all() {
            object.close();
        }
    }

    // objects

    /// An object that the caller may see.
    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Result<Arc<Object>> {
        let object = self.objects.get(handle)?;
        let logged_in = self.role() == Some(Role::User);
        ensure(object.is_visible(logged_in), CKR_OBJECT_HANDLE_INVALID)?;
        Ok(object)
    }

    /// Brings the objects up to date with the token, which other processes use too.
    pub(crate) fn refresh(&self) -> Result<()> {
        let secret = self.user_secret();
        let entries = self.token.entries()?;
        self.objects.refresh(&entries, secret.as_deref())
    }

    /// The key of an object.
    pub(crate) fn key(&self, object: &Object) -> Result<Arc<dyn Key>> {
        object.key(|id| {
            let attributes = object.attributes();
            let secret = self.user_secret();
            let secret = secret.as_deref().filter(|_| attributes.flag(CKA_PRIVATE));
            self.token.open(id, keyforms::algorithm(&attributes)?, secret)
        })
    }
}
