//! `docs/keymint.md` maps KeyMint's public vendor test suite to these tests: no name is missing,
//! and each test that is named exists.

use std::collections::BTreeMap;
use std::path::Path;

/// The suites and how many tests each has.
const SUITES: [(&str, usize); 26] = [
    ("AddEntropyTest", 4),
    ("AttestKeyTest", 14),
    ("AuthTest", 6),
    ("BootloaderStateTest", 3),
    ("ClearOperationsTest", 1),
    ("DestroyAttestationIdsTest", 1),
    ("DeviceUniqueAttestationTest", 6),
    ("EarlyBootKeyTest", 5),
    ("EncryptionOperationsTest", 84),
    ("GetHardwareInfoTest", 1),
    ("ImportKeyTest", 30),
    ("ImportWrappedKeyTest", 9),
    ("InstanceTest", 2),
    ("KeyAgreementTest", 5),
    ("KeyBlobUpgradeTest", 5),
    ("KeyDeletionTest", 3),
    ("KeyUpgradeTest", 1),
    ("MaxOperationsTest", 2),
    ("NewKeyGenerationTest", 53),
    ("SecureElementProvisioningTest", 8),
    ("SigningOperationsTest", 35),
    ("TransportLimitTest", 1),
    ("UpgradeKeyTest", 1),
    ("UsageCountLimitTest", 5),
    ("VerificationOperationsTest", 2),
    ("VsrRequirementTest", 2),
];

/// The rows of the table: a test of the suite, and what stands for it here.
fn rows() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/keymint.md");
    let text = std::fs::read_to_string(page).unwrap();
    let table = text.split("| VTS | ours |\n|---|---|\n").nth(1).expect("the table");
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let mut cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        (cells.next().unwrap(), cells.next().unwrap())
    };
    lines.map(cells).collect()
}

#[test]
fn every_name_of_the_vendor_test_suite_is_mapped_once() {
    let rows = rows();
    let mut counts = BTreeMap::<&str, usize>::new();
    for (name, _) in &rows {
        *counts.entry(name.split_once('.').expect("suite and test").0).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from(SUITES));
    let names: std::collections::BTreeSet<_> = rows.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), rows.len(), "none comes twice");
}

#[test]
fn every_test_that_is_mapped_to_exists_and_every_gap_has_a_reason() {
    for (name, ours) in rows() {
        if let Some(reason) = ours.strip_prefix('—') {
            assert!(reason.trim().len() > 10, "{name} has no reason");
            continue;
        }
        let (module, test) = ours.trim_matches('`').split_once("::").expect("a module and a test");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests");
        let text = std::fs::read_to_string(folder.join(format!("{module}.rs"))).unwrap();
        assert!(text.contains(&format!("#[test]\nfn {test}()")), "{name}: no test {ours}");
    }
}
