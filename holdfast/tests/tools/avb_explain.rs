//! `holdfast avb explain`: each answer with the set of images that deserves it.

use crate::data::holdfast;
use crate::document::{Reader, blocks};
use crate::images::{Set, public_key};
use avb::{Algorithm, ChainPartitionDescriptor, Descriptor, KernelCmdlineDescriptor, VbmetaFlags};
use serde_json::Value;
use std::path::Path;

/// Explains the folder; the exit code and the JSON object.
fn explain(folder: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let folder = folder.to_string_lossy();
    let output = holdfast(&[&["avb", "explain", "--json", &folder][..], more].concat());
    let answer =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"));
    (output.status.code(), answer)
}

/// Boots locked, boots unlocked, is safe to lock, and a text that the answer must have.
#[track_caller]
fn check(what: &str, set: &Set, more: &[&str], due: (bool, bool, bool), text: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    set.write(folder.path(), "");
    check_folder(what, folder.path(), more, due, text)
}

#[track_caller]
fn check_folder(
    what: &str,
    folder: &Path,
    more: &[&str],
    (locked, unlocked, safe): (bool, bool, bool),
    text: &str,
) -> Value {
    let (code, answer) = explain(folder, more);
    let slot = &answer["slots"][0];
    let got = [&slot["locked"]["boots"], &slot["unlocked"]["boots"], &answer["safe_to_lock"]];
    assert_eq!(got, [locked, unlocked, safe], "{what}: {answer:#}");
    assert_eq!(code, Some(i32::from(!safe)), "{what}");
    assert!(answer.to_string().contains(text), "{what}: {text:?} is missing in {answer:#}");
    answer
}

#[test]
fn a_good_set_boots_and_is_safe_to_lock() {
    let answer = check("good", &Set::new(), &[], (true, true, true), "every block is as signed");
    let slot = &answer["slots"][0];
    assert_eq!(slot["locked"]["state"], "yellow", "nobody said that it is the maker's key");
    assert_eq!(slot["unlocked"]["state"], "orange");
    assert_eq!(slot["signed"][0]["rollback_index"], 3);
    let says = |nth: usize| slot["partitions"][nth]["as_signed"].as_bool();
    assert_eq!((says(0), says(1)), (Some(true), Some(true)));
}

#[test]
fn the_makers_key_is_green_and_the_users_yellow() {
    let folder = tempfile::tempdir().expect("a folder");
    Set::new().write(folder.path(), "");
    let key = folder.path().join("key.avbpubkey");
    let key = key.to_string_lossy();
    for (option, state) in [("--key", "green"), ("--custom-key", "yellow")] {
        let (code, answer) = explain(folder.path(), &[option, &key]);
        assert_eq!(code, Some(0));
        assert_eq!(answer["slots"][0]["locked"]["state"], state);
    }
    let other = folder.path().join("other");
    let mut blob = public_key().as_bytes().to_vec();
    std::fs::write(&other, &blob).expect("written");
    let other_key = crypto::sign::RsaKey::generate(2048).expect("a key");
    blob = avb::RsaPublicKeyBlob::from_modulus(&other_key.modulus()).unwrap().as_bytes().to_vec();
    std::fs::write(&other, &blob).expect("written");
    let other = other.to_string_lossy();
    let due = (false, true, false);
    check_folder("other key", folder.path(), &["--key", &other], due, "KEY_REJECTED");
}

#[test]
fn s2_2_says_why_a_locked_device_refuses() {
    let good = (true, true, true);
    let refused = (false, true, false);
    let mut set = Set::new();
    check("same index", &set, &["--rollback-index", "0=3"], good, "");
    check("rollback", &set, &["--rollback-index", "0=4"], refused, "rollback index 3 is below 4");
    set.boot[2] ^= 1;
    check("image", &set, &[], refused, "digest-mismatch");
    let mut set = Set::new();
    set.boot[100] = 1;
    check("stray byte", &set, &[], good, "only --strict refuses: boot, behind the image");
    check("stray byte", &set, &["--strict"], refused, "stray-bytes");
    let mut set = Set::new();
    set.vbmeta.flags = VbmetaFlags(VbmetaFlags::VERIFICATION_DISABLED);
    check("no verification", &set, &[], refused, "flags-refused");
    let mut set = Set::new();
    set.vbmeta.descriptors.remove(0);
    let answer = check("no descriptor", &set, &[], refused, "descriptor-missing");
    assert_eq!(answer["slots"][0]["locked"]["libavb"], "OK", "libavb lets it through");
    let mut set = Set::new();
    set.vbmeta.descriptors.push(Descriptor::Unknown { tag: 99, payload: vec![0; 8] });
    check("unknown descriptor", &set, &[], refused, "descriptor-malformed");
}

#[test]
fn s2_2_says_what_neither_device_boots() {
    let never = (false, false, false);
    let mut set = Set::new();
    set.system[5 * 4096] ^= 1;
    check("data block", &set, &[], never, "data block 5 is corrupted");
    check("not read", &set, &["--skip-trees"], (true, true, true), "not read");
    let mut set = Set::new();
    let last = set.system.len() - 1;
    set.system[last] ^= 1;
    check("tree", &set, &[], never, "another root digest");
    let mut set = Set::new();
    set.vbmeta.descriptors.push(Descriptor::ChainPartition(ChainPartitionDescriptor {
        rollback_index_location: 1,
        flags: 0,
        partition_name: "vendor_boot".into(),
        public_key: public_key().as_bytes().to_vec(),
    }));
    check("chain to nowhere", &set, &[], never, "vendor_boot");
}

#[test]
fn what_is_not_given_or_not_private_is_not_safe_to_lock() {
    let folder = tempfile::tempdir().expect("a folder");
    Set::new().write(folder.path(), "");
    std::fs::remove_file(folder.path().join("system.img")).expect("removed");
    let due = (true, true, false);
    check_folder("no system", folder.path(), &[], due, "system is signed and was not given");
    std::fs::write(folder.path().join("system.img"), 0xED26_FF3A_u32.to_le_bytes()).unwrap();
    check_folder("sparse", folder.path(), &[], due, r#""sparse":["system"]"#);
}

#[test]
fn each_slot_is_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    Set::new().write(folder.path(), "_a");
    let mut set = Set::new();
    set.boot[0] ^= 1;
    set.write(folder.path(), "_b");
    let (code, answer) = explain(folder.path(), &[]);
    assert_eq!(code, Some(1));
    let boots = |nth: usize| answer["slots"][nth]["locked"]["boots"].as_bool();
    assert_eq!((boots(0), boots(1)), (Some(true), Some(false)));
    let (code, answer) = explain(folder.path(), &["--suffix", "_a"]);
    assert_eq!((code, answer["slots"].as_array().map(Vec::len)), (Some(0), Some(1)));
}

#[test]
fn ml_dsa_boots_where_libavb_knows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    Set::new().write(folder.path(), "");
    let key = crypto::ml_dsa::MlDsaKey::generate(crypto::ml_dsa::Parameters::MlDsa65).unwrap();
    let blob = avb::MlDsaPublicKeyBlob::from_raw(key.public_key()).unwrap();
    let builder = avb::VbmetaBuilder { algorithm: Algorithm::MlDsa65, ..Set::new().vbmeta };
    let vbmeta = builder.sign(&blob, |data| key.sign(data)).unwrap();
    std::fs::write(folder.path().join("vbmeta.img"), vbmeta).unwrap();
    check_folder("1.4", folder.path(), &[], (true, true, true), "MLDSA65");
    let due = (false, false, false);
    check_folder("1.3", folder.path(), &["--libavb", "1.3"], due, "UNSUPPORTED_VERSION");
}

/// Cut off anywhere, flipped anywhere, empty, of the wrong kind: there is always an answer.
#[test]
fn strange_images_get_an_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = Set::new();
    set.write(folder.path(), "");
    for name in ["vbmeta", "boot", "system"] {
        let path = folder.path().join(format!("{name}.img"));
        let good = std::fs::read(&path).expect("read");
        for size in [0, 1, 3, 63, 64, 255, 256, 700, good.len() - 1] {
            std::fs::write(&path, &good[..size.min(good.len())]).expect("written");
            let (code, answer) = explain(folder.path(), &["--skip-trees"]);
            assert!(matches!(code, Some(0 | 1)), "{name} {size}: {answer}");
        }
        for at in (0..1500).step_by(61) {
            let mut altered = good.clone();
            let at = at.min(altered.len() - 8);
            altered[at..at + 8].fill(0xff);
            std::fs::write(&path, altered).expect("written");
            let (code, answer) = explain(folder.path(), &["--skip-trees"]);
            assert!(matches!(code, Some(0 | 1)), "{name} {at}: {answer}");
        }
        std::fs::write(&path, good).expect("written");
    }
    let huge = std::fs::File::create(folder.path().join("boot.img")).expect("created");
    huge.set_len(20 << 30).expect("a hole");
    let (code, answer) = explain(folder.path(), &["--skip-trees"]);
    assert_eq!(code, Some(1), "{answer}");
}

#[test]
fn wrong_command_lines_say_what_is_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    for (arguments, code, due) in [
        (vec!["avb", "explain"], 2, "required"),
        (vec!["avb", "explain", &path], 2, "no image"),
        (vec!["avb", "explain", "/nowhere/boot.img"], 3, "No such file"),
        (vec!["avb", "explain", "/dev/null"], 2, "not a regular file"),
        (vec!["avb", "explain", &path, "--rollback-index", "32=1"], 2, "0 to 31"),
        (vec!["avb", "explain", &path, "--persistent-value", "a=xy"], 2, "hexadecimal"),
        (vec!["avb", "explain", &path, "--libavb", "2.0"], 2, "1.3 and 1.4"),
        (vec!["avb", "explain", &path, "--key", "/dev/null"], 2, "extract_public_key"),
    ] {
        let output = holdfast(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(due), "{arguments:?}: {said}");
    }
}

/// docs/avb.md, line by line.
#[test]
fn the_page_about_avb_works_as_written() {
    let home = tempfile::tempdir().expect("a folder");
    let good = Set::new();
    good.write(&home.path().join("images"), "");
    let mut broken = Set::new();
    broken.boot[0] ^= 1;
    let cmdline = KernelCmdlineDescriptor { flags: 0, cmdline: "quiet".into() };
    broken.vbmeta.descriptors.push(Descriptor::KernelCmdline(cmdline));
    broken.write(&home.path().join("broken"), "");
    let mut reader = Reader::at(home.path());
    let said: Vec<String> =
        blocks("docs/avb.md").iter().map(|block| reader.types(&block.text)).collect();
    let said = said.join("\n");
    for due in [
        "Safe to lock: yes",
        "On a locked device: boots, green",
        "On a locked device: does NOT boot, red",
        "Safe to lock: NO",
        "digest-mismatch",
        r#""result":"OK""#,
        "libavb says ERROR_VERIFICATION",
        "    Prop: com.example.release -> '7'\n",
        "verified SHA256_RSA2048 vbmeta struct in signed.img\n",
    ] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
}
