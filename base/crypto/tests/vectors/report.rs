//! Counts what ran and what did not, and compares that with the page that says so.

use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Default)]
struct Row {
    ran: usize,
    /// Reasons, and how many vectors each kept from running.
    left_out: BTreeMap<String, usize>,
}

/// A table in the making.
#[derive(Default)]
pub(crate) struct Report(BTreeMap<String, Row>);

impl Report {
    fn row(&mut self, set: &str) -> &mut Row {
        self.0.entry(set.to_owned()).or_default()
    }

    /// One more vector of `set` holds.
    pub(crate) fn ran(&mut self, set: &str) {
        self.row(set).ran += 1;
    }

    /// So many vectors of `set` did not run.
    pub(crate) fn left_out(&mut self, set: &str, why: &str, vectors: usize) {
        *self.row(set).left_out.entry(why.to_owned()).or_default() += vectors;
    }

    fn table(&self) -> String {
        let mut out = String::from("| vectors | ran | left out, and why |\n|---|---|---|\n");
        for (set, row) in &self.0 {
            let why = |(why, count): (&String, &usize)| format!("{count}: {why}");
            let why: Vec<String> = row.left_out.iter().map(why).collect();
            writeln!(out, "| {set} | {} | {} |", row.ran, why.join("; ")).unwrap();
        }
        let ran: usize = self.0.values().map(|row| row.ran).sum();
        let left: usize = self.0.values().flat_map(|row| row.left_out.values()).sum();
        writeln!(out, "| **all** | {ran} | {left} |").unwrap();
        out
    }

    /// Fails unless the page has this table between its marks; writes it there where
    /// `HOLDFAST_WRITE_PAGES` is set.
    pub(crate) fn compare(&self, page: &str, mark: &str) {
        let text = std::fs::read_to_string(page).unwrap();
        let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->"));
        let (head, rest) = text.split_once(&begin).expect("the page has the mark");
        let (old, tail) = rest.split_once(&end).expect("the page has the end mark");
        let table = self.table();
        if std::env::var_os("HOLDFAST_WRITE_PAGES").is_some() {
            std::fs::write(page, format!("{head}{begin}{table}{end}{tail}")).unwrap();
        } else {
            assert_eq!(old, table, "docs/vectors.md: run again with HOLDFAST_WRITE_PAGES=1");
        }
    }
}
