//! The engine as the trusted OS runs it: one operation at a time, answers when they are due.

use crate::disk::{DeviceKeys, Disk, now};
use crate::{A, B, put};
use secure_storage::{
    Anchor, Error, FileError, Files, Operation, Outcome, Owner, Quota, Reply, Request, Service,
};
use std::collections::BTreeMap;
use std::rc::Rc;

struct Running {
    service: Service,
    disk: Disk,
    next: u64,
    answers: BTreeMap<u64, Result<Reply, Error>>,
}

impl Running {
    fn over(disk: Disk) -> Self {
        let service = Service::new(Rc::new(DeviceKeys([7; 32])));
        Self { service, disk, next: 0, answers: BTreeMap::new() }
    }

    fn submit(&mut self, owner: Owner, request: Request) -> u64 {
        self.next += 1;
        self.service.submit(self.next, owner, request);
        self.collect();
        self.next
    }

    fn change(&mut self, owner: Owner, name: &str, content: &[u8]) -> u64 {
        let changes = vec![put(name, content)];
        self.submit(owner, Request::Change { quota: Quota::default(), changes })
    }

    fn collect(&mut self) {
        while let Some((ticket, answer)) = self.service.answer() {
            assert!(self.answers.insert(ticket, answer).is_none(), "one answer each");
        }
    }

    /// Performs one operation; says which, `None` where none is due.
    fn step(&mut self) -> Option<Operation> {
        let operation = self.service.operation()?;
        let outcome = perform(&self.disk, operation.clone());
        self.service.complete(outcome);
        self.collect();
        Some(operation)
    }

    fn settle(&mut self) {
        while self.step().is_some() {}
    }

    fn take(&mut self, ticket: u64) -> Result<Reply, Error> {
        self.settle();
        self.answers.remove(&ticket).expect("an answer is due")
    }
}

fn perform(disk: &Disk, operation: Operation) -> Outcome {
    let file = |result: Result<Outcome, FileError>| result.unwrap_or_else(Outcome::Failed);
    match operation {
        Operation::Create { file: id, bytes } => {
            file(now(disk.create(id, bytes)).map(|()| Outcome::Done))
        }
        Operation::Write { file: id, offset, bytes, sync } => {
            file(now(disk.write(id, offset, bytes, sync)).map(|()| Outcome::Done))
        }
        Operation::Read { file: id, offset, length } => {
            file(now(disk.read(id, offset, length)).map(Outcome::Bytes))
        }
        Operation::Remove { file: id } => file(now(disk.remove(id)).map(|()| Outcome::Done)),
        Operation::List => file(now(disk.list()).map(Outcome::Files)),
        Operation::LoadAnchor => match now(disk.load()) {
            Ok(block) => Outcome::Anchor(Box::new(block)),
            Err(error) => Outcome::AnchorFailed(error),
        },
        Operation::StoreAnchor(block) => match now(disk.store(*block)) {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::AnchorFailed(error),
        },
    }
}

fn bytes(reply: Result<Reply, Error>) -> Vec<u8> {
    match reply {
        Ok(Reply::Bytes(bytes)) => bytes.to_vec(),
        Ok(_) => panic!("bytes were due"),
        Err(error) => panic!("{error}"),
    }
}

fn get(name: &str) -> Request {
    Request::Read { name: name.into(), offset: 0, length: u32::MAX }
}

#[test]
fn who_comes_while_a_commit_is_under_way_shares_the_next() {
    let mut running = Running::over(Disk::default());
    let first = running.change(A, "warm", b"up");
    running.take(first).unwrap_or_else(|error| panic!("{error}"));
    running.disk.syncs.set((0, 0));
    // The first is on its way; the others come meanwhile.
    let mut tickets = vec![running.change(A, "first", b"1")];
    tickets.extend((0..10).map(|at| running.change([at; 32], "mine", &[at])));
    assert!(running.answers.is_empty());
    for ticket in tickets {
        assert!(matches!(running.take(ticket), Ok(Reply::Done)));
    }
    assert_eq!(running.disk.syncs.get(), (2, 2));
    let ticket = running.submit([7; 32], get("mine"));
    assert_eq!(bytes(running.take(ticket)), [7]);
}

#[test]
fn without_a_keeper_of_files_it_says_so_and_works_again_afterwards() {
    let disk = Disk::default();
    let mut running = Running::over(disk.clone());
    let ticket = running.change(A, "a", b"1");
    assert!(matches!(running.take(ticket), Ok(Reply::Done)));
    // From now on every operation fails, as it does where nobody is connected.
    let fail = |running: &mut Running, request| {
        let ticket = running.submit(A, request);
        while let Some(operation) = running.service.operation() {
            let is_anchor = matches!(operation, Operation::LoadAnchor | Operation::StoreAnchor(_));
            assert!(!is_anchor, "nothing is promised before it is durable");
            running.service.complete(Outcome::Failed(FileError::Unreachable));
            running.collect();
        }
        running.answers.remove(&ticket).expect("an answer is due")
    };
    let changes = vec![put("a", b"2")];
    let change = Request::Change { quota: Quota::default(), changes };
    assert!(matches!(fail(&mut running, change), Err(Error::Unreachable(_))));
    assert!(matches!(fail(&mut running, get("a")), Err(Error::Unreachable(_))));
    running.service.keeper_changed();
    let ticket = running.submit(A, get("a"));
    assert_eq!(bytes(running.take(ticket)), b"1");
    let ticket = running.change(A, "a", b"3");
    assert!(matches!(running.take(ticket), Ok(Reply::Done)));
    let mut again = Running::over(disk);
    let ticket = again.submit(A, get("a"));
    assert_eq!(bytes(again.take(ticket)), b"3");
}

#[test]
fn answers_of_another_kind_or_length_are_failures() {
    let disk = Disk::default();
    let mut running = Running::over(disk.clone());
    let ticket = running.change(A, "a", &[5; 500]);
    assert!(matches!(running.take(ticket), Ok(Reply::Done)));
    let lies = [
        Outcome::Done,
        Outcome::Bytes(Vec::new()),
        Outcome::Bytes(vec![0; 1 << 20]),
        Outcome::Bytes(vec![0; 500]),
        Outcome::Files(vec![]),
        Outcome::Anchor(Box::new([0; 256])),
        Outcome::Failed(FileError::Missing),
        Outcome::Failed(FileError::Full),
    ];
    for lie in lies {
        let ticket = running.submit(A, get("a"));
        assert!(running.service.operation().is_some());
        running.service.complete(lie.clone());
        running.collect();
        assert!(running.take(ticket).is_err(), "{lie:?}");
    }
    let ticket = running.submit(A, get("a"));
    assert_eq!(bytes(running.take(ticket)), [5; 500]);
}

#[test]
fn a_refused_folder_is_looked_at_again_when_another_keeper_comes() {
    let disk = Disk::default();
    let mut running = Running::over(disk.clone());
    let ticket = running.change(A, "a", b"1");
    assert!(matches!(running.take(ticket), Ok(Reply::Done)));
    let mut wiped = disk.platter();
    wiped.files.clear();
    let mut running = Running::over(Disk::of(wiped));
    running.service.keeper_changed();
    for _ in 0..2 {
        let ticket = running.submit(A, get("a"));
        assert!(matches!(running.take(ticket), Err(Error::Security(_))));
    }
    running.disk = disk;
    running.service.keeper_changed();
    let ticket = running.submit(A, get("a"));
    assert_eq!(bytes(running.take(ticket)), b"1");
}

#[test]
fn erasing_works_on_a_refused_folder_and_without_a_keeper() {
    let disk = Disk::default();
    let mut running = Running::over(disk.clone());
    let ticket = running.change(A, "a", b"1");
    assert!(matches!(running.take(ticket), Ok(Reply::Done)));
    let mut wiped = disk.platter();
    wiped.files.clear();
    let mut running = Running::over(Disk::of(wiped));
    let ticket = running.submit(B, get("a"));
    assert!(matches!(running.take(ticket), Err(Error::Security(_))));
    let ticket = running.submit(B, Request::EraseAll);
    assert!(matches!(running.take(ticket), Ok(Reply::Done)));
    let ticket = running.submit(A, Request::List { after: None });
    assert!(matches!(running.take(ticket), Ok(Reply::Names(names)) if names.is_empty()));
}

#[test]
fn many_changes_compact_by_themselves() {
    let mut running = Running::over(Disk::default());
    for at in 0..700_u32 {
        let ticket = running.change(A, &format!("{}", at % 5), &at.to_le_bytes().repeat(1000));
        assert!(matches!(running.take(ticket), Ok(Reply::Done)));
    }
    assert!(running.disk.platter().files.len() < 9);
}
