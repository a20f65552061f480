//! fscrypt: any bytes are a context or an error, and any names and links are refused or open.
#![no_main]

use fscrypt::{Context, Owner, Policy, identifier, symlink_ciphertext};
use libfuzzer_sys::fuzz_target;

const MASTER: [u8; 64] = [7; 64];
const LONGEST: usize = 40;

fuzz_target!(|data: &[u8]| {
    let _ = Policy::decode(data);
    let _ = symlink_ciphertext(data);
    let (context, rest) = data.split_at(data.len().min(LONGEST));
    let Ok(mut context) = Context::decode(context) else { return };
    assert_eq!(Context::decode(&context.encode()), Ok(context));
    if let Policy::V2 { identifier: named, .. } = &mut context.policy {
        *named = identifier(&MASTER);
    }
    let owner = Owner { uuid: [1; 16], inode: 12 };
    if let Ok(names) = context.names(&MASTER, &owner) {
        if let Ok(name) = names.open(rest) {
            assert_eq!(names.open(&names.seal(&name, 4096).unwrap()), Ok(name));
        }
    }
    if let Ok(contents) = context.contents(&MASTER, &owner) {
        let mut unit = rest.to_vec();
        if contents.open(3, &mut unit).is_ok() {
            contents.seal(3, &mut unit).unwrap();
            assert_eq!(unit, rest);
        }
    }
});
