use super::*;
use crate::format::keys::Keys;
use crate::format::layout::block_offset;
use crypto::secret::Secret;
use proptest::prelude::*;

fn keys() -> Keys {
    Keys::new(&Secret::new([5; 32]))
}

fn new_file() -> File {
    File::create(tempfile::tempfile().unwrap(), &keys()).unwrap()
}

impl File {
    /// The file as the next mount finds it.
    fn reopened(&self) -> Result<Self, Error> {
        Self::open(self.backing.try_clone().unwrap(), &keys())
    }

    fn put(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.write(offset, &mut data.to_vec(), &mut Scratch::new())
    }

    fn whole(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![1; self.size() as usize + 10];
        let length = self.read(0, &mut out, &mut Scratch::new())?;
        out.truncate(length);
        Ok(out)
    }

    fn with(content: &[u8]) -> Self {
        let file = new_file();
        file.put(0, content).unwrap();
        file.rest().unwrap();
        file
    }

    fn flip(&self, offset: u64) {
        let mut byte = [0];
        self.backing.read_exact_at(&mut byte, offset).unwrap();
        self.backing.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }

    fn copy_page(&self, from: u64, to: u64) {
        let page = read_page(&self.backing, from).unwrap();
        self.backing.write_all_at(&page[..], to).unwrap();
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8 | 1).collect()
}

#[derive(Debug, Clone)]
enum Act {
    Write(u64, usize),
    Truncate(u64),
    Zero(u64, u64, bool),
    Allocate(u64, u64),
    Rest,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let place = || prop_oneof![0..1_100_000_u64, (0..260_u64).prop_map(|block| block * 4096)];
    let length = || prop_oneof![1..20_000_u64, (1..130_u64).prop_map(|blocks| blocks * 4096)];
    prop_oneof![
        4 => (place(), length()).prop_map(|(at, length)| Act::Write(at, length as usize)),
        2 => place().prop_map(Act::Truncate),
        2 => (place(), length(), any::<bool>()).prop_map(|(at, length, grow)| Act::Zero(at, length, grow)),
        1 => (place(), length()).prop_map(|(at, length)| Act::Allocate(at, length)),
        1 => Just(Act::Rest),
        1 => Just(Act::Reopen),
    ]
}

/// What an ordinary file would hold.
fn model(content: &mut Vec<u8>, act: &Act, fill: u8) {
    let grow = |content: &mut Vec<u8>, end: usize| content.resize(content.len().max(end), 0);
    match *act {
        Act::Write(at, length) => {
            grow(content, at as usize + length);
            content[at as usize..][..length].fill(fill);
        }
        Act::Truncate(size) => content.resize(size as usize, 0),
        Act::Zero(at, length, extend) => {
            let end = (at + length) as usize;
            if extend {
                grow(content, end);
            }
            let end = end.min(content.len());
            let start = (at as usize).min(end);
            content[start..end].fill(0);
        }
        Act::Allocate(at, length) => grow(content, (at + length) as usize),
        Act::Rest | Act::Reopen => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_behaves_as_an_ordinary_one(acts in prop::collection::vec(act(), 1..12)) {
        let (mut file, mut expected, mut scratch) = (new_file(), Vec::new(), Scratch::new());
        for (fill, act) in (1..).zip(&acts) {
            model(&mut expected, act, fill);
            match *act {
                Act::Write(at, length) => file.put(at, &vec![fill; length]).unwrap(),
                Act::Truncate(size) => file.truncate(size, &mut scratch).unwrap(),
                Act::Zero(at, length, extend) => file.zero(at, length, extend, &mut scratch).unwrap(),
                Act::Allocate(at, length) => file.allocate(at, length, &mut scratch).unwrap(),
                Act::Rest => file.rest().unwrap(),
                // As after a kill: nobody told the file that its writer is done.
                Act::Reopen => file = file.reopened().unwrap(),
            }
            prop_assert_eq!(file.size(), expected.len() as u64);
            prop_assert!(file.whole().unwrap() == expected, "after {:?}", act);
        }
        let last = file.reopened().unwrap();
        last.put(0, b"").unwrap();
        last.rest().unwrap();
        let again = last.reopened().unwrap();
        prop_assert!(!again.read_state().suspect);
        prop_assert!(again.whole().unwrap() == expected);
    }
}

#[test]
fn s3_1_1_no_two_files_share_a_key_and_nothing_is_in_the_clear() {
    let (one, two) = (File::with(&text(5000)), File::with(&text(5000)));
    assert_ne!(one.id(), two.id());
    let raw = |file: &File| {
        let mut out = vec![0; backing_bytes(5000) as usize];
        read_at(&file.backing, &mut out, 0).unwrap();
        out
    };
    assert!(!raw(&one).windows(8).any(|window| window == &text(5000)[..8]));
    assert_ne!(raw(&one)[4096..], raw(&two)[4096..]);
    // The blocks of one in the other.
    let stolen = raw(&one);
    two.backing.write_all_at(&stolen[4096..], 4096).unwrap();
    assert_eq!(two.reopened().unwrap().whole(), Err(Error::Damaged(Damage::Tags(0))));
}

#[test]
fn every_alteration_of_a_block_is_refused() {
    let content = text(70 * BLOCK_BYTES);
    let check = |alter: &dyn Fn(&File), damage: Damage| {
        let file = File::with(&content);
        alter(&file);
        let read = file.reopened().and_then(|file| file.whole());
        assert_eq!(read, Err(Error::Damaged(damage)));
    };
    check(&|file| file.flip(block_offset(3) + 100), Damage::Block(3));
    check(&|file| file.copy_page(block_offset(4), block_offset(3)), Damage::Block(3));
    check(&|file| file.copy_page(block_offset(65), block_offset(1)), Damage::Block(1));
    check(&|file| file.copy_page(tags_offset(1), tags_offset(0)), Damage::Tags(0));
    check(&|file| file.flip(tags_offset(1) + 50), Damage::Tags(1));
    check(&|file| file.flip(100), Damage::Header);
    // A hole where there was none: zeros are no block.
    check(
        &|file| file.backing.write_all_at(&[0; BLOCK_BYTES], block_offset(9)).unwrap(),
        Damage::Block(9),
    );
    check(
        &|file| file.backing.write_all_at(&[0; BLOCK_BYTES], tags_offset(0)).unwrap(),
        Damage::Tags(0),
    );
    let due = backing_bytes(content.len() as u64);
    let cut = due - BLOCK_BYTES as u64;
    check(&|file| file.backing.set_len(cut).unwrap(), Damage::Short { there: cut, due });
    check(&|file| file.backing.set_len(0).unwrap(), Damage::Short { there: 0, due: 4096 });
    let more = due + BLOCK_BYTES as u64;
    check(&|file| file.backing.set_len(more).unwrap(), Damage::Long { there: more, due });
}

#[test]
fn an_older_block_of_the_same_place_is_refused_once_two_newer_ones_followed() {
    let file = File::with(&text(BLOCK_BYTES));
    let old = read_page(&file.backing, block_offset(0)).unwrap();
    file.put(0, &[2; BLOCK_BYTES]).unwrap();
    file.put(0, &[3; BLOCK_BYTES]).unwrap();
    file.backing.write_all_at(&old[..], block_offset(0)).unwrap();
    assert_eq!(file.whole(), Err(Error::Damaged(Damage::Block(0))));
}

/// Copies of a backing file after each step of a write, as a kill leaves it.
#[test]
fn a_kill_between_two_steps_of_a_write_leaves_old_or_new_content() {
    let (old, new) = (text(3 * BLOCK_BYTES), vec![9; 3 * BLOCK_BYTES]);
    let file = File::with(&old);
    let bytes = |file: &File| {
        let mut out = vec![0; file.backing.metadata().unwrap().len() as usize];
        read_at(&file.backing, &mut out, 0).unwrap();
        out
    };
    let before = bytes(&file);
    file.put(0, &new).unwrap();
    let after = bytes(&file);
    // Pages in the order in which they are written: header, tag page, blocks.
    for steps in 0..=before.len() / BLOCK_BYTES {
        let image = tempfile::tempfile().unwrap();
        image.write_all_at(&before, 0).unwrap();
        image.write_all_at(&after[..steps * BLOCK_BYTES], 0).unwrap();
        let killed = File::open(image, &keys()).unwrap();
        let read = killed.whole().unwrap();
        for (block, content) in read.chunks(BLOCK_BYTES).enumerate() {
            let range = block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES;
            assert!(content == &old[range.clone()] || content == &new[range], "step {steps}");
        }
        // The next write of every block, and a kill in the middle of it, lose nothing either.
        killed.put(0, &read).unwrap();
        assert_eq!(killed.reopened().unwrap().whole().unwrap(), read);
        assert!(!killed.read_state().suspect);
    }
}

#[test]
fn holes_take_no_space_and_are_found() {
    let file = new_file();
    let far = 9 << 30;
    file.put(far, b"far").unwrap();
    file.put(0, b"near").unwrap();
    file.rest().unwrap();
    let file = file.reopened().unwrap();
    assert_eq!(file.size(), far + 3);
    let mut out = [1; 3];
    assert_eq!(file.read(far, &mut out, &mut Scratch::new()), Ok(3));
    assert_eq!(&out, b"far");
    assert_eq!(file.read(5 << 30, &mut out, &mut Scratch::new()), Ok(3));
    assert_eq!(out, [0; 3]);
    use std::os::unix::fs::MetadataExt as _;
    assert!(file.backing.metadata().unwrap().blocks() * 512 < 100_000);
    assert_eq!(file.seek(0, Seek::Hole), Ok(4096));
    assert_eq!(file.seek(far + 1, Seek::Data), Ok(far + 1));
    assert_eq!(file.seek(far, Seek::Hole), Ok(far + 3));
    assert_eq!(file.seek(far + 3, Seek::Data), Err(Error::Os(Errno::NXIO)));
    assert_eq!(file.truncate(u64::MAX, &mut Scratch::new()), Err(Error::Os(Errno::FBIG)));
    file.truncate(100, &mut Scratch::new()).unwrap();
    assert_eq!(file.whole().unwrap()[..5], *b"near\0");
    assert_eq!(file.backing.metadata().unwrap().len(), backing_bytes(100));
}

#[test]
fn a_full_disk_is_an_error_and_what_was_there_stays() {
    // RLIMIT_FSIZE would signal; a read-only descriptor fails each write just as well.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let backing = fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let file = File::create(backing, &keys()).unwrap();
    file.put(0, &text(9000)).unwrap();
    file.rest().unwrap();
    let file = File::open(fs::File::open(&path).unwrap(), &keys()).unwrap();
    assert!(file.put(0, b"new").is_err());
    assert_eq!(file.whole().unwrap(), text(9000));
    assert!(file.truncate(0, &mut Scratch::new()).is_err());
    assert_eq!(file.whole().unwrap(), text(9000));
}
