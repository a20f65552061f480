//! Operations that are under way, and which one is given up for another.

use crate::error::Error;
use keymint::{Authorizations, ErrorCode};
use keystore_client::KeystoreCode;
use keystore_client::api::Namespace;
use std::collections::HashMap;
use std::time::Duration;

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) owner: Namespace,
    /// Of its key.
    pub(crate) rules: Authorizations,
    /// Ends when the device is locked.
    pub(crate) needs_unlock: bool,
    /// When it was used last (monotonic).
    pub(crate) used: Duration,
    busy: bool,
}

impl Operation {
    pub(crate) const fn new(
        owner: Namespace,
        rules: Authorizations,
        needs_unlock: bool,
        used: Duration,
    ) -> Self {
        Self { owner, rules, needs_unlock, used, busy: false }
    }
}

/// All of them, by KeyMint's number.
#[derive(Debug, Default)]
pub(crate) struct Operations(HashMap<u64, Operation>);

impl Operations {
    pub(crate) fn add(&mut self, id: u64, operation: Operation) {
        self.0.insert(id, operation);
    }

    /// Refuses what is not there, or not `owner`'s.
    pub(crate) fn must_own(&self, id: u64, owner: &Namespace) -> Result<(), Error> {
        let own = self.0.get(&id).is_some_and(|operation| operation.owner == *owner);
        if own { Ok(()) } else { Err(ErrorCode::InvalidOperationHandle.into()) }
    }

    /// Takes an operation for one call; until [`Self::put_back`] nobody else gets it.
    pub(crate) fn take(
        &mut self,
        id: u64,
        owner: &Namespace,
        now: Duration,
    ) -> Result<Operation, Error> {
        let operation = self.0.get_mut(&id).filter(|operation| operation.owner == *owner);
        let operation = operation.ok_or(ErrorCode::InvalidOperationHandle)?;
        if operation.busy {
            let reason = "another request works on this operation; wait for its answer";
            return Err(Error::refused(KeystoreCode::OperationBusy, reason));
        }
        operation.busy = true;
        operation.used = now;
        Ok(operation.clone())
    }

    /// The call is done and the operation goes on.
    pub(crate) fn put_back(&mut self, id: u64) {
        if let Some(operation) = self.0.get_mut(&id) {
            operation.busy = false;
        }
    }

    /// It is over.
    pub(crate) fn remove(&mut self, id: u64) {
        self.0.remove(&id);
    }

    /// Takes out those that end with the unlocked device.
    pub(crate) fn end_with_unlocked(&mut self) -> Vec<u64> {
        let ended: Vec<_> =
            self.0.iter().filter(|(_, it)| it.needs_unlock).map(|(id, _)| *id).collect();
        ended.iter().for_each(|id| self.remove(*id));
        ended
    }

    /// Takes out the operation that is given up for a new one of `owner`: of whoever has the most,
    /// the one that was used least recently. Nobody loses one to somebody who has as many.
    pub(crate) fn prune_for(&mut self, owner: &Namespace) -> Option<u64> {
        let mut had: HashMap<&Namespace, usize> = HashMap::new();
        for operation in self.0.values() {
            *had.entry(&operation.owner).or_default() += 1;
        }
        let own = had.get(owner).copied().unwrap_or(0);
        let idle = self.0.iter().filter(|(_, operation)| !operation.busy);
        let allowed = idle
            .filter(|(_, operation)| operation.owner == *owner || had[&operation.owner] > own + 1);
        let victim = allowed.max_by_key(|(id, operation)| {
            (had[&operation.owner], std::cmp::Reverse(operation.used), **id)
        });
        let victim = victim.map(|(id, _)| *id)?;
        self.remove(victim);
        Some(victim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(uid: u32) -> Namespace {
        Namespace { uid, label: None }
    }

    /// `(id, uid, used)` each.
    fn operations(all: &[(u64, u32, u64)]) -> Operations {
        let mut operations = Operations::default();
        for (id, uid, used) in all {
            let (rules, used) = (Authorizations::default(), Duration::from_secs(*used));
            operations.add(*id, Operation::new(namespace(*uid), rules, id % 2 == 1, used));
        }
        operations
    }

    #[test]
    fn who_has_the_most_loses_the_one_that_was_used_least_recently() {
        let mut operations =
            operations(&[(1, 10, 5), (2, 10, 3), (3, 10, 9), (4, 20, 1), (5, 20, 2)]);
        assert_eq!(operations.prune_for(&namespace(30)), Some(2));
        // 10 and 20 have two each now: more than a newcomer will have.
        assert_eq!(operations.prune_for(&namespace(30)), Some(4));
        assert_eq!(operations.prune_for(&namespace(30)), Some(1));
        // One each: nobody has more than the newcomer will have.
        assert_eq!(operations.prune_for(&namespace(30)), None);
        assert_eq!(operations.prune_for(&namespace(20)), Some(5), "its own");
    }

    #[test]
    fn a_flood_takes_nothing_from_others() {
        let all: Vec<_> = (0..31).map(|id| (id, 10, id)).chain([(99, 20, 0)]).collect();
        let mut operations = operations(&all);
        for round in 0..31 {
            assert_eq!(operations.prune_for(&namespace(10)), Some(round));
        }
        assert!(operations.take(99, &namespace(20), Duration::ZERO).is_ok());
    }

    #[test]
    fn others_see_nothing_and_two_at_once_is_refused() {
        let mut operations = operations(&[(1, 10, 0)]);
        let other = operations.take(1, &namespace(20), Duration::ZERO).unwrap_err();
        let absent = operations.take(2, &namespace(20), Duration::ZERO).unwrap_err();
        assert_eq!(other, absent);
        assert!(other.is(ErrorCode::InvalidOperationHandle));
        operations.take(1, &namespace(10), Duration::ZERO).unwrap();
        let busy = operations.take(1, &namespace(10), Duration::ZERO).unwrap_err();
        assert!(busy.is(KeystoreCode::OperationBusy));
        assert_eq!(operations.prune_for(&namespace(10)), None, "a busy one is not given up");
        operations.put_back(1);
        operations.take(1, &namespace(10), Duration::ZERO).unwrap();
    }

    #[test]
    fn locking_ends_those_that_need_the_device_unlocked() {
        let mut operations = operations(&[(1, 10, 0), (2, 10, 0), (3, 20, 0)]);
        let mut ended = operations.end_with_unlocked();
        ended.sort_unstable();
        assert_eq!(ended, [1, 3]);
        assert!(operations.take(2, &namespace(10), Duration::ZERO).is_ok());
    }
}
