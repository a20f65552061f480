//! Everybody's vectors against the facade (SPEC S2.1.4): NIST's CAVP and those that standards
//! carry, and Wycheproof. What ran, and what did not and why, is the table of `docs/vectors.md`.

mod cavp;
mod data;
mod report;
mod rsp;
mod wycheproof;

use report::Report;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors.md");

#[test]
fn s2_1_4_every_cavp_vector_holds_or_is_named() {
    let Some(folder) = data::folder("keystore-tee/cavp") else {
        println!("data/keystore-tee/cavp is not here: its vectors do not run");
        return;
    };
    let mut report = Report::default();
    for file in data::files(&folder) {
        cavp::run(&file, &mut report);
    }
    report.compare(PAGE, "cavp");
}

#[test]
fn s2_1_4_every_wycheproof_vector_that_applies_holds() {
    let mut report = Report::default();
    wycheproof::run(&mut report);
    report.compare(PAGE, "wycheproof");
}
