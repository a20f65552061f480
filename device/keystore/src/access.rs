//! Whose keys they are: looking them up, showing, granting, moving, changing, deleting.

use crate::audit::{Event, What};
use crate::caller::Caller;
use crate::error::Error;
use crate::rows::{self, GrantRow, Key};
use crate::service::Keystore;
use keymint::Bytes;
use keystore_client::KeystoreCode;
use keystore_client::api::{
    Access, Change, Details, Grant, Granted, KeyInfo, KeyRef, MAX_ALIAS_BYTES, MAX_DETAILS,
    MAX_EXTRA_BYTES, MAX_PAGE, Move, Namespace, Page, Ungrant,
};
use sqlx::SqliteConnection;
use tee_api::keymint::KeyCharacteristics;

/// The most bytes of certificates with one key.
const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// A key, and what the caller may do with it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) access: Vec<Access>,
    /// It is the caller's own.
    pub(crate) own: bool,
}

impl Found {
    pub(crate) fn must_allow(&self, access: Access) -> Result<(), Error> {
        if self.access.contains(&access) {
            return Ok(());
        }
        Err(Error::permission("the grant does not reach so far; ask the key's owner"))
    }

    fn must_be_own(&self) -> Result<(), Error> {
        if self.own { Ok(()) } else { Err(Error::permission("only a key's owner may do this")) }
    }

    pub(crate) fn info(self) -> KeyInfo {
        let Key { id, owner, alias, blob, characteristics, certificates, extra, .. } = self.key;
        KeyInfo {
            alias,
            id: format!("{id:016x}"),
            owner,
            has_key: blob.is_some(),
            needs_unlock: blob.is_some_and(|blob| blob.sealing != rows::Sealing::None),
            characteristics,
            certificates: certificates.into_iter().map(Bytes).collect(),
            extra: extra.map(Bytes),
            created_ms: self.key.created_ms,
            uses_left: self.key.uses_left,
            access: self.access,
        }
    }
}

/// Looks a key up as `caller` sees it: what is not there and what is not for it look the same.
pub(crate) async fn find(
    db: &mut SqliteConnection,
    caller: &Namespace,
    key: &KeyRef,
) -> Result<Found, Error> {
    let (row, grant) = match key {
        KeyRef::Alias(alias) => (rows::by_alias(db, caller, alias).await?, None),
        KeyRef::Id(id) => {
            let grants = rows::grants(db, *id).await?;
            let grant = grants.into_iter().find(|grant| grant.to == *caller);
            (rows::by_id(db, *id).await?, grant)
        }
        KeyRef::Grant(id) => {
            let grant = rows::grant(db, *id).await?.filter(|grant| grant.to == *caller);
            let grant = grant.ok_or_else(Error::no_such_key)?;
            (rows::by_id(db, grant.key).await?, Some(grant))
        }
    };
    let key = row.ok_or_else(Error::no_such_key)?;
    if key.owner == *caller {
        return Ok(Found { key, access: Access::ALL.to_vec(), own: true });
    }
    let grant = grant.ok_or_else(Error::no_such_key)?;
    Ok(Found { key, access: grant.access, own: false })
}

/// What a new key or name must be called.
pub(crate) fn check_alias(alias: &str) -> Result<(), Error> {
    match alias.parse() {
        Ok(KeyRef::Alias(_)) => Ok(()),
        _ => Err(Error::malformed(format!(
            "an alias has 1 to {MAX_ALIAS_BYTES} bytes, no control characters, and does not begin \
             with id: or grant:"
        ))),
    }
}

pub(crate) fn check_extra(extra: Option<&Bytes>) -> Result<(), Error> {
    if extra.is_none_or(|extra| extra.len() <= MAX_EXTRA_BYTES) {
        return Ok(());
    }
    let reason = format!("what a program keeps with a key is at most {MAX_EXTRA_BYTES} bytes");
    Err(Error::refused(KeystoreCode::TooMuchData, reason))
}

impl Keystore {
    /// Looks a key up.
    pub(crate) fn find(&self, caller: &Caller, key: &KeyRef) -> Result<Found, Error> {
        let (caller, key) = (caller.namespace.clone(), key.clone());
        self.db.read(async move |db| find(db, &caller, &key).await)
    }

    /// The caller's keys whose alias begins with `prefix`, behind `after`; at most `limit`.
    pub fn list(
        &self,
        caller: &Caller,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Page, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let (owner, from, behind) = (caller.namespace.clone(), prefix.to_owned(), after.to_owned());
        let page = async move |db: &mut SqliteConnection| {
            rows::page(db, &owner, &from, &behind, limit + 1).await
        };
        let mut keys = self.db.read(page)?;
        keys.retain(|entry| entry.alias.starts_with(prefix));
        let more = keys.len() > limit;
        keys.truncate(limit);
        let next = keys.last().filter(|_| more).map(|entry| entry.alias.clone());
        Ok(Page { keys, next })
    }

    /// The same with everything about them but the keys.
    pub fn details(
        &self,
        caller: &Caller,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Details, Error> {
        let Page { keys, next } = self.list(caller, prefix, after, limit.min(MAX_DETAILS))?;
        let owner = caller.namespace.clone();
        let keys = self.db.read(async move |db: &mut SqliteConnection| {
            let mut all = Vec::with_capacity(keys.len());
            for entry in keys {
                // What was deleted since is not there any more.
                if let Some(key) = rows::by_alias(db, &owner, &entry.alias).await? {
                    all.push(Found { key, access: Access::ALL.to_vec(), own: true }.info());
                }
            }
            Ok(all)
        })?;
        Ok(Details { keys, next })
    }

    /// Everything about a key but the key.
    pub fn show(&self, caller: &Caller, key: &KeyRef) -> Result<KeyInfo, Error> {
        let found = self.find(caller, key)?;
        found.must_allow(Access::GetInfo)?;
        Ok(found.info())
    }

    /// Deletes a key, here and in the TEE.
    pub fn delete(&self, caller: &Caller, key: &KeyRef) -> Result<(), Error> {
        let (by, key, at) = (caller.namespace.clone(), key.clone(), self.parts.clock.now());
        self.db.write(move |on| {
            let found = on.run(async |db| find(db, &by, &key).await)?;
            found.must_allow(Access::Delete)?;
            let id = found.key.id;
            on.run(async |db| rows::doom(db, id).await)?;
            on.audit(&Event::new(at, &by, What::Delete, id))
        })?;
        self.reap();
        Ok(())
    }

    /// Lets somebody else use a key of the caller's. Again for the same grantee replaces what it
    /// may do, and the number stays.
    pub fn grant(&self, caller: &Caller, grant: Grant) -> Result<Granted, Error> {
        let Grant { key, to, access } = grant;
        if access.is_empty() {
            return Err(Error::malformed("say what the grant is to allow"));
        }
        if to == caller.namespace {
            return Err(Error::malformed("the key is its owner's already"));
        }
        let (by, at, id) = (caller.namespace.clone(), self.parts.clock.now(), self.fresh_id());
        let granted = self.db.write(move |on| {
            let found = on.run(async |db| find(db, &by, &key).await)?;
            found.must_be_own()?;
            let row = GrantRow { id, key: found.key.id, to, access };
            let id = on.run(async |db| rows::put_grant(db, &row).await)?;
            on.audit(&Event::new(at, &by, What::Grant, row.key))?;
            Ok(GrantRow { id, ..row })
        })?;
        // What it may do now may be less than before.
        self.close_tickets(|issued| issued.key == granted.key && issued.to == granted.to);
        Ok(shown(granted))
    }

    /// Takes a grant back, and whatever was opened through it.
    pub fn ungrant(&self, caller: &Caller, ungrant: Ungrant) -> Result<(), Error> {
        let Ungrant { key, to } = ungrant;
        let (by, from, at) = (caller.namespace.clone(), to.clone(), self.parts.clock.now());
        let id = self.db.write(move |on| {
            let found = on.run(async |db| find(db, &by, &key).await)?;
            found.must_be_own()?;
            let id = found.key.id;
            if !on.run(async |db| rows::remove_grant(db, id, &from).await)? {
                return Err(Error::refused(KeystoreCode::KeyNotFound, "there is no such grant"));
            }
            on.audit(&Event::new(at, &by, What::Ungrant, id))?;
            Ok(id)
        })?;
        self.close_tickets(|issued| issued.key == id && issued.to == to);
        Ok(())
    }

    /// Whom a key of the caller's was granted to.
    pub fn grants(&self, caller: &Caller, key: &KeyRef) -> Result<Vec<Granted>, Error> {
        let (by, key) = (caller.namespace.clone(), key.clone());
        let grants = self.db.read(async move |db| {
            let found = find(db, &by, &key).await?;
            found.must_be_own()?;
            rows::grants(db, found.key.id).await
        })?;
        Ok(grants.into_iter().map(shown).collect())
    }

    /// Gives a key another name; the system also gives keys, its own and others', other owners.
    pub fn move_key(&self, caller: &Caller, to: Move) -> Result<KeyInfo, Error> {
        check_alias(&to.alias)?;
        let (by, at) = (caller.clone(), self.parts.clock.now());
        let (before, now) = self.db.write(move |on| {
            let Move { key, alias, to } = to;
            let found = on.run(async |db| find_to_move(db, &by, &key).await)?;
            let owner = to.unwrap_or_else(|| found.key.owner.clone());
            if owner != found.key.owner {
                by.must_be_system()?;
            }
            let id = found.key.id;
            on.run(async |db| rows::set_owner(db, id, &owner, &alias).await)?;
            on.audit(&Event::new(at, &by.namespace, What::Move, id))?;
            let key = Key { owner, alias, ..found.key.clone() };
            let access = if key.owner == by.namespace { Access::ALL.to_vec() } else { Vec::new() };
            Ok((found.key, Found { key, access, own: false }))
        })?;
        if before.owner != now.key.owner {
            self.close_tickets(|issued| issued.key == before.id && issued.to == before.owner);
        }
        Ok(now.info())
    }

    /// Changes a key's certificates, or what the program keeps with it.
    pub fn change(&self, caller: &Caller, change: Change) -> Result<KeyInfo, Error> {
        let Change { key, certificates, extra } = change;
        check_extra(extra.as_ref())?;
        let certificates: Option<Vec<Vec<u8>>> =
            certificates.map(|chain| chain.into_iter().map(Bytes::into_vec).collect());
        if certificates.iter().flatten().map(Vec::len).sum::<usize>() > MAX_CERTIFICATE_BYTES {
            let reason = format!("a chain has at most {MAX_CERTIFICATE_BYTES} bytes");
            return Err(Error::refused(KeystoreCode::TooMuchData, reason));
        }
        let (by, at, id) = (caller.namespace.clone(), self.parts.clock.now(), self.fresh_id());
        let extra = extra.map(Bytes::into_vec);
        self.db.write(move |on| {
            let found = on.run(async |db| find(db, &by, &key).await);
            let found = match (found, &key, &certificates) {
                (Err(error), KeyRef::Alias(alias), Some(_))
                    if error.is(KeystoreCode::KeyNotFound) =>
                {
                    let key = without_key(id, &by, alias, at.0);
                    on.run(async |db| rows::insert(db, &key).await)?;
                    Found { key, access: Access::ALL.to_vec(), own: true }
                }
                (found, ..) => found?,
            };
            found.must_allow(Access::Update)?;
            let key = Key {
                certificates: certificates.unwrap_or(found.key.certificates),
                extra: extra.or(found.key.extra),
                ..found.key
            };
            let (chain, extra) = (&key.certificates, key.extra.as_deref());
            on.run(async |db| rows::set_about(db, key.id, chain, extra).await)?;
            on.audit(&Event::new(at, &by, What::Update, key.id))?;
            Ok(Found { key, access: found.access, own: found.own }.info())
        })
    }
}

/// As [`find`]; the system finds every key by its number, to move it.
async fn find_to_move(
    db: &mut SqliteConnection,
    caller: &Caller,
    key: &KeyRef,
) -> Result<Found, Error> {
    if let (KeyRef::Id(id), true) = (key, caller.is_system) {
        let key = rows::by_id(db, *id).await?.ok_or_else(Error::no_such_key)?;
        return Ok(Found { key, access: Vec::new(), own: false });
    }
    let found = find(db, &caller.namespace, key).await?;
    found.must_be_own()?;
    Ok(found)
}

/// An entry for certificates alone.
fn without_key(id: u64, owner: &Namespace, alias: &str, created_ms: u64) -> Key {
    Key {
        id,
        owner: owner.clone(),
        alias: alias.to_owned(),
        blob: None,
        characteristics: KeyCharacteristics::default(),
        certificates: Vec::new(),
        extra: None,
        created_ms,
        uses_left: None,
    }
}

fn shown(grant: GrantRow) -> Granted {
    let GrantRow { id, to, access, .. } = grant;
    Granted { grant: KeyRef::Grant(id).to_string(), to, access }
}
