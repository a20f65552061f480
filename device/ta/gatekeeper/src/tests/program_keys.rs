//! The keys of programs, which KeyMint has, end with an erasure.

use super::*;
use std::cell::Cell;
use std::rc::Rc;

#[test]
fn s3_1_3_an_erasure_and_a_change_of_the_bootloaders_lock_delete_all_keys_of_keymint() {
    let (os, mut ta) = enrolled();
    let deleted = Rc::new(Cell::new(0));
    let (count, works) = (Rc::clone(&deleted), Rc::new(Cell::new(false)));
    let able = Rc::clone(&works);
    os.answers_for::<KeyMint>(move |command| {
        assert!(matches!(command, keymint::Command::DeleteAllKeys));
        if !able.get() {
            return Err(TeeError::Resources("no room in RPMB".into()));
        }
        count.set(count.get() + 1);
        Ok(keymint::Reply::Done)
    });
    assert!(set_lock(&os, &mut ta, false).is_err());
    assert!(!os.boot_lock().unlocked && status(&mut ta).enrolled, "nothing by half");
    works.set(true);
    set_lock(&os, &mut ta, false).unwrap();
    assert_eq!((deleted.get(), os.sessions_with_others()), (1, 0));
    set_lock(&os, &mut ta, true).unwrap();
    ta.call(&Command::Erase).unwrap();
    assert_eq!(deleted.get(), 3);
    os.answers_for::<KeyMint>(|_| Err(TeeError::NotFound("KeyMint".into())));
    ta.call(&Command::Erase).unwrap();
}
