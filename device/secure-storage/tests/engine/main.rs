//! The engine over a disk that may lose power, and in the hands of a hostile one.

mod attacks;
mod behaviour;
mod crash;
mod disk;
mod service;

use disk::{DeviceKeys, Disk, now};
use secure_storage::{Batch, Change, Error, Owner, Quota, Store};
use std::collections::BTreeMap;
use std::rc::Rc;
use zeroize::Zeroizing;

const A: Owner = [1; 32];
const B: Owner = [2; 32];

type Opened = Store<Disk, Disk>;
type Model = BTreeMap<(Owner, String), Vec<u8>>;

fn open(disk: &Disk) -> Result<Opened, Error> {
    now(Store::open(disk.clone(), disk.clone(), Rc::new(DeviceKeys([7; 32]))))
}

fn erase(disk: &Disk) {
    now(Opened::erase(disk, &DeviceKeys([7; 32]))).unwrap();
}

fn put(name: &str, content: &[u8]) -> Change {
    Change::Put { name: name.into(), content: Zeroizing::new(content.into()) }
}

fn write(name: &str, offset: u32, content: &[u8]) -> Change {
    Change::Write { name: name.into(), offset, content: Zeroizing::new(content.into()) }
}

fn delete(name: &str) -> Change {
    Change::Delete { name: name.into() }
}

fn rename(from: &str, to: &str) -> Change {
    Change::Rename { from: from.into(), to: to.into() }
}

fn commit(store: &mut Opened, owner: Owner, changes: Vec<Change>) -> Result<(), Error> {
    let batch = Batch { owner, quota: Quota::default(), changes };
    let mut outcomes = now(store.commit(&[batch]));
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

fn read(store: &Opened, owner: &Owner, name: &str) -> Result<Vec<u8>, Error> {
    let size = store.size(owner, name)?;
    let mut content = Vec::new();
    while (content.len() as u32) < size {
        let more = now(store.read(owner, name, content.len() as u32, u32::MAX))?;
        assert!(!more.is_empty() && more.len() <= secure_storage::MAX_READ_BYTES as usize);
        content.extend_from_slice(&more);
    }
    Ok(content)
}

/// All objects of both owners, read and verified.
fn state(store: &Opened) -> Result<Model, Error> {
    let mut model = Model::new();
    for owner in [A, B] {
        let mut after: Option<String> = None;
        loop {
            let names = store.list(&owner, after.as_deref());
            let Some(last) = names.last() else { break };
            after = Some(last.clone());
            for name in names {
                let content = read(store, &owner, &name)?;
                model.insert((owner, name), content);
            }
        }
    }
    Ok(model)
}

/// What `changes` make of `model`; `None` where they are refused.
fn changed(model: &Model, owner: Owner, changes: &[Change]) -> Option<Model> {
    let mut model = model.clone();
    for change in changes {
        match change {
            Change::Put { name, content } => {
                model.insert((owner, name.clone()), content.to_vec());
            }
            Change::Write { name, offset, content } => {
                let old = model.get_mut(&(owner, name.clone()))?;
                let (begin, end) = (*offset as usize, *offset as usize + content.len());
                if begin > old.len() {
                    return None;
                }
                if old.len() < end {
                    old.resize(end, 0);
                }
                old[begin..end].copy_from_slice(content);
            }
            Change::Truncate { name, size } => {
                let old = model.get_mut(&(owner, name.clone()))?;
                if *size as usize > old.len() {
                    return None;
                }
                old.truncate(*size as usize);
            }
            Change::Delete { name } => {
                model.remove(&(owner, name.clone()));
            }
            Change::Rename { from, to } => {
                let content = model.remove(&(owner, from.clone()))?;
                model.insert((owner, to.clone()), content);
            }
        }
    }
    Some(model)
}
