//! The trusted side, as its page shows it.

use crate::document::{Reader, blocks};
use crate::run::state;

#[test]
fn the_page_about_the_trusted_side_works_as_written() {
    let home = state();
    let mut reader = Reader::at(home.path());
    let mut said = Vec::new();
    for block in blocks("docs/tee.md") {
        if block.terminal {
            reader.starts(&block.text);
            reader.types("until holdfast device status > /dev/null; do sleep 0.1; done");
        } else {
            said.push(reader.types(&block.text));
        }
    }
    let said = said.join("\n");
    for due in ["not trusted: no signed time came in since power-on", r#""trusted":false"#] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
    reader.leaves();
}
