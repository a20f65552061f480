//! Whose keys they are.

use super::{Bench, alias, signing, system, user, verifies};
use crate::{Caller, Error};
use keymint::Bytes;
use keystore_client::KeystoreCode;
use keystore_client::api::{
    Access, Change, Grant, KeyRef, MAX_EXTRA_BYTES, Move, Namespace, NewKey, Open, Ungrant,
};
use std::collections::BTreeSet;

fn is(error: Result<impl std::fmt::Debug, Error>, code: KeystoreCode) -> bool {
    error.unwrap_err().is(code)
}

#[test]
fn s3_2_another_user_or_label_sees_nothing() {
    let bench = Bench::new();
    let labelled = |label: &str| Caller::new(1000, Some(label.into()), false);
    let mine = bench.generate(&user(1000), "key");
    let id: KeyRef = mine.reference().unwrap();
    for other in [user(1001), system(), labelled("u:r:wallet:s0")] {
        let keystore = &bench.keystore;
        assert_eq!(keystore.list(&other, "", "", 10).unwrap().keys, []);
        for key in [alias("key"), id.clone(), KeyRef::Grant(1)] {
            let nothing = keystore.show(&other, &key).unwrap_err();
            let absent = keystore.show(&other, &alias("no such key")).unwrap_err();
            assert_eq!(nothing, absent, "what is not yours and what is not there look the same");
            assert_eq!(keystore.delete(&other, &key).unwrap_err(), absent);
            assert_eq!(keystore.grants(&other, &key).unwrap_err(), absent);
            assert_eq!(bench.sign(&other, &key).unwrap_err(), absent);
        }
        // The same alias is another key.
        let theirs = bench.generate(&other, "key");
        assert_ne!(theirs.id, mine.id);
    }
    let signature = bench.sign(&user(1000), &id).unwrap();
    assert!(verifies(&mine, &signature));
    assert!(is(bench.keystore.audit(&user(1000), 0, 1), KeystoreCode::PermissionDenied));
    assert!(is(bench.keystore.add_token(&user(1000), &[0; 69]), KeystoreCode::PermissionDenied));
}

#[test]
fn s3_2_a_grant_lets_in_as_far_as_it_says_and_until_it_is_taken_back() {
    let bench = Bench::new();
    let (owner, other) = (user(1000), user(1001));
    bench.generate(&owner, "key");
    let give = |access: &[Access]| {
        let (key, to) = (alias("key"), other.namespace.clone());
        bench.keystore.grant(&owner, Grant { key, to, access: access.to_vec() }).unwrap()
    };
    let granted = give(&[Access::Use]);
    let key: KeyRef = granted.grant.parse().unwrap();
    bench.sign(&other, &key).unwrap();
    assert!(is(bench.keystore.show(&other, &key), KeystoreCode::PermissionDenied));
    assert!(is(bench.keystore.delete(&other, &key), KeystoreCode::PermissionDenied));
    assert!(is(bench.sign(&user(1002), &key), KeystoreCode::KeyNotFound), "not transferable");
    let onwards = Grant { key: key.clone(), to: user(1002).namespace, access: vec![Access::Use] };
    assert!(is(bench.keystore.grant(&other, onwards), KeystoreCode::PermissionDenied));

    let again = give(&[Access::GetInfo]);
    assert_eq!(again.grant, granted.grant);
    assert!(is(bench.sign(&other, &key), KeystoreCode::PermissionDenied));
    assert_eq!(bench.keystore.show(&other, &key).unwrap().access, [Access::GetInfo]);
    assert_eq!(bench.keystore.grants(&owner, &alias("key")).unwrap(), [again]);

    let take = || {
        let (key, to) = (alias("key"), other.namespace.clone());
        bench.keystore.ungrant(&owner, Ungrant { key, to })
    };
    take().unwrap();
    assert!(is(bench.keystore.show(&other, &key), KeystoreCode::KeyNotFound));
    assert!(is(take(), KeystoreCode::KeyNotFound));

    give(&[Access::Delete]);
    let key = bench.keystore.grants(&owner, &alias("key")).unwrap()[0].grant.parse().unwrap();
    bench.keystore.delete(&other, &key).unwrap();
    assert!(is(bench.keystore.show(&owner, &alias("key")), KeystoreCode::KeyNotFound));
}

#[test]
fn a_ticket_ends_with_the_grant_that_it_came_of() {
    let bench = Bench::new();
    let (owner, other) = (user(1000), user(1001));
    bench.generate(&owner, "key");
    let to = other.namespace.clone();
    let grant = Grant { key: alias("key"), to: to.clone(), access: vec![Access::Use] };
    let granted = bench.keystore.grant(&owner, grant).unwrap();
    let open = |key: KeyRef| Open { key, params: Default::default(), token: None };
    let by_grant = open(granted.grant.parse().unwrap());
    assert!(bench.keystore.open_key(&other, by_grant).unwrap().ticket.is_some());
    assert!(bench.keystore.open_key(&owner, open(alias("key"))).unwrap().ticket.is_some());
    assert_eq!(bench.tee.tickets(), 2);
    bench.keystore.ungrant(&owner, Ungrant { key: alias("key"), to }).unwrap();
    assert_eq!(bench.tee.tickets(), 1, "the owner's stays");
}

#[test]
fn the_system_moves_keys_between_namespaces_and_nobody_else() {
    let bench = Bench::new();
    let (old, new) = (user(1000), user(1001));
    let info = bench.generate(&old, "key");
    let by_id = info.reference().unwrap();
    let to =
        |key: &KeyRef, to: Option<Namespace>| Move { key: key.clone(), alias: "moved".into(), to };
    let stolen = bench.keystore.move_key(&new, to(&by_id, Some(new.namespace.clone())));
    assert!(is(stolen, KeystoreCode::KeyNotFound));
    let given = bench.keystore.move_key(&old, to(&alias("key"), Some(new.namespace.clone())));
    assert!(is(given, KeystoreCode::PermissionDenied));

    bench.keystore.move_key(&old, to(&alias("key"), None)).unwrap();
    bench.generate(&new, "moved");
    let taken = bench.keystore.move_key(&system(), to(&by_id, Some(new.namespace.clone())));
    assert!(is(taken, KeystoreCode::AlreadyExists));
    bench.keystore.delete(&new, &alias("moved")).unwrap();
    bench.keystore.move_key(&system(), to(&by_id, Some(new.namespace.clone()))).unwrap();
    assert!(is(bench.sign(&old, &alias("moved")), KeystoreCode::KeyNotFound));
    assert!(verifies(&info, &bench.sign(&new, &alias("moved")).unwrap()));
    assert!(is(bench.sign(&system(), &by_id), KeystoreCode::KeyNotFound), "it uses none of them");
}

#[test]
fn an_alias_is_taken_over_only_on_request_and_the_old_key_dies_in_the_tee() {
    let bench = Bench::new();
    let me = user(1000);
    let first = bench.generate(&me, "key");
    assert!(is(
        bench.keystore.generate(&me, NewKey::new("key", signing())),
        KeystoreCode::AlreadyExists
    ));
    let new = NewKey { replace: true, ..NewKey::new("key", signing()) };
    let second = bench.keystore.generate(&me, new).unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(bench.tee.deleted(), 1);
    assert!(verifies(&second, &bench.sign(&me, &alias("key")).unwrap()));
    bench.keystore.delete(&me, &alias("key")).unwrap();
    assert_eq!(bench.tee.deleted(), 2);
}

#[test]
fn what_the_tee_could_not_delete_it_deletes_later() {
    let bench = Bench::new();
    bench.generate(&user(1000), "key");
    bench.tee.state().answers = false;
    bench.keystore.delete(&user(1000), &alias("key")).unwrap();
    bench.tee.state().answers = true;
    assert_eq!(bench.tee.deleted(), 0);
    let bench = bench.restart();
    assert_eq!(bench.tee.deleted(), 1);
}

#[test]
fn certificates_and_extra_may_change_and_certificates_stand_alone() {
    let bench = Bench::new();
    let me = user(1000);
    bench.generate(&me, "key");
    let change = |alias: &str, certificates: Option<Vec<Bytes>>, extra: Option<Bytes>| {
        let change = Change { key: super::alias(alias), certificates, extra };
        bench.keystore.change(&me, change)
    };
    let chain = vec![b"leaf".into(), b"root".into()];
    let info = change("key", Some(chain.clone()), None).unwrap();
    assert_eq!(info.certificates, chain);
    let info = change("key", None, Some(b"label".into())).unwrap();
    assert_eq!((info.certificates, info.extra), (chain.clone(), Some(b"label".into())));

    let alone = change("ca", Some(chain.clone()), None).unwrap();
    assert!(!alone.has_key && alone.certificates == chain);
    assert!(is(bench.sign(&me, &alias("ca")), KeystoreCode::InvalidArgument));
    assert!(is(change("none", None, Some(b"x".into())), KeystoreCode::KeyNotFound));
    let long = Bytes(vec![0; MAX_EXTRA_BYTES + 1]);
    assert!(is(change("key", None, Some(long)), KeystoreCode::TooMuchData));
    bench.keystore.delete(&me, &alias("ca")).unwrap();
    assert_eq!(bench.tee.deleted(), 0);
}

#[test]
fn thousands_are_listed_in_pages_and_none_is_missed_or_told_twice() {
    const KEYS: usize = 3000;
    let bench = Bench::new();
    let me = user(1000);
    let put = |number: usize| {
        let key =
            alias(&format!("{} {number:05}", if number.is_multiple_of(3) { "a" } else { "b" }));
        let change = Change { key, certificates: Some(Vec::new()), extra: None };
        bench.keystore.change(&me, change).unwrap();
    };
    // Eight at a time: they share their commits.
    std::thread::scope(|scope| {
        for part in 0..8 {
            scope.spawn(move || (part..KEYS).step_by(8).for_each(put));
        }
    });
    let all = |prefix: &str| {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = bench.keystore.list(&me, prefix, &after, 700).unwrap();
            found.extend(page.keys.into_iter().map(|entry| entry.alias));
            match page.next {
                Some(next) => after = next,
                None => return found,
            }
        }
    };
    let everything = all("");
    assert!(everything.is_sorted());
    // With everything about them, a hundred at a time.
    let (mut details, mut after) = (Vec::new(), String::new());
    loop {
        let page = bench.keystore.details(&me, "b", &after, 1000).unwrap();
        assert!(page.keys.len() <= 100);
        details.extend(page.keys.into_iter().map(|info| info.alias));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(details, all("b"));
    assert_eq!(everything.iter().collect::<BTreeSet<_>>().len(), KEYS);
    assert_eq!((everything.len(), all("a").len(), all("c").len()), (KEYS, KEYS / 3, 0));
}
