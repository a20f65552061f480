//! Storage in memory.

use super::{FakeOs, State};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use tee_api::storage::{Answer, Call, MAX_CALL_BYTES, Placement, changed_objects};
use tee_api::{TaId, TeeError};

/// All objects, of all TAs.
pub(super) type Objects = BTreeMap<(TaId, Placement, String), Vec<u8>>;

/// The most names that one listing gives.
const MAX_LISTED: usize = 64;

impl FakeOs {
    /// Power goes at the storage change after `writes` more: it and all later ones fail.
    pub fn lose_power_after(&self, writes: u32) {
        self.state().writes_left = Some(writes);
    }

    /// Whether the system keeps files; it does unless it was said that it does not.
    pub fn keep_files(&self, kept: bool) {
        self.state().keeps_files = kept;
    }

    /// What the TA's storage holds under `name`, wherever it lies.
    #[must_use]
    pub fn object(&self, ta: TaId, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let key = |placement| (ta, placement, name.to_owned());
        Placement::ALL.into_iter().find_map(|it| state.objects.get(&key(it)).cloned())
    }

    /// All that the storage holds, name and content: for a look at what is left of a secret.
    #[must_use]
    pub fn objects(&self) -> Vec<(TaId, String, Vec<u8>)> {
        let state = self.state();
        state.objects.iter().map(|((ta, _, name), v)| (*ta, name.clone(), v.clone())).collect()
    }

    /// Alters storage in RPMB as no TA can: for tests of what a TA makes of it.
    pub fn set_object(&self, ta: TaId, name: &str, value: Option<Vec<u8>>) {
        let key = (ta, Placement::Rpmb, name.to_owned());
        match value {
            Some(value) => self.state().objects.insert(key, value),
            None => self.state().objects.remove(&key),
        };
    }
}

impl State {
    pub(super) fn storage(&mut self, ta: TaId, call: Call) -> Result<Answer, TeeError> {
        let placement = match &call {
            Call::Commit { placement, .. }
            | Call::Read { placement, .. }
            | Call::Size { placement, .. }
            | Call::List { placement, .. } => Some(*placement),
            Call::EraseAll => None,
        };
        if placement == Some(Placement::Ree) && !self.keeps_files {
            return Err(TeeError::Communication("no program of the system keeps files".into()));
        }
        match call {
            Call::Commit { placement, changes } => {
                let load = |name: &str| Ok(self.find(ta, placement, name).cloned());
                let changed = changed_objects(placement, changes, load)?;
                self.check_room(ta, placement, &changed)?;
                self.lose_power()?;
                for (name, content) in changed {
                    let key = (ta, placement, name);
                    match content {
                        Some(content) => self.objects.insert(key, content),
                        None => self.objects.remove(&key),
                    };
                }
                Ok(Answer::Done)
            }
            Call::Read { placement, name, offset, length } => {
                let content = self.find(ta, placement, &name).ok_or(TeeError::NotFound(name))?;
                let rest = content.get(offset as usize..).unwrap_or_default();
                let length = rest.len().min(length.min(MAX_CALL_BYTES) as usize);
                Ok(Answer::Bytes(ByteBuf::from(&rest[..length])))
            }
            Call::Size { placement, name } => {
                let content = self.find(ta, placement, &name).ok_or(TeeError::NotFound(name))?;
                Ok(Answer::Size(content.len() as u32))
            }
            Call::List { placement, after } => {
                let behind = |name: &str| after.as_deref().is_none_or(|after| name > after);
                let names = self
                    .objects
                    .keys()
                    .filter(|(of, lies, name)| (*of, *lies) == (ta, placement) && behind(name));
                let names = names.map(|(_, _, name)| name.clone());
                Ok(Answer::Names(names.take(MAX_LISTED).collect()))
            }
            Call::EraseAll => {
                self.lose_power()?;
                self.objects.retain(|(_, placement, _), _| *placement == Placement::Rpmb);
                Ok(Answer::Done)
            }
        }
    }

    fn find(&self, ta: TaId, placement: Placement, name: &str) -> Option<&Vec<u8>> {
        self.objects.get(&(ta, placement, name.to_owned()))
    }

    /// Refuses what would be more objects than a trusted application may have.
    fn check_room(
        &self,
        ta: TaId,
        placement: Placement,
        changed: &BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<(), TeeError> {
        let is_there = |name: &str| self.find(ta, placement, name).is_some();
        let new = changed.iter().filter(|(name, it)| it.is_some() && !is_there(name)).count();
        let gone = changed.iter().filter(|(name, it)| it.is_none() && is_there(name)).count();
        let has = self.objects.keys().filter(|(of, lies, _)| (*of, *lies) == (ta, placement));
        if new > 0 && has.count() + new - gone > placement.limits().objects {
            return Err(TeeError::Resources("no room for another object".into()));
        }
        Ok(())
    }

    fn lose_power(&mut self) -> Result<(), TeeError> {
        if let Some(left) = &mut self.writes_left {
            let powered = left.checked_sub(1);
            *left = powered.ok_or_else(|| TeeError::Communication("power is gone".into()))?;
        }
        Ok(())
    }
}
