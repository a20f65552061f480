//! The two forms of vector files: `NAME = VALUE` in sections, and hexadecimal below `# Name:`.

/// A record: what stands between two empty lines, with the section that it is in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// The content of `[…]`, the latest ones first; those of the same name replace each other.
    pub(crate) sections: Vec<String>,
    fields: Vec<(String, String)>,
}

impl Record {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.fields.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name));
        &found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(self.text(name))
    }

    pub(crate) fn number(&self, name: &str) -> usize {
        self.text(name).parse().unwrap()
    }

    /// The value of `[NAME = VALUE]`.
    pub(crate) fn section(&self, name: &str) -> &str {
        let value = |section: &'_ String| {
            let (known, value) = section.split_once('=')?;
            (known.trim() == name).then(|| value.trim().to_owned())
        };
        let found = self.sections.iter().position(|section| value(section).is_some());
        let section = &self.sections[found.unwrap_or_else(|| panic!("no [{name}] in {self:?}"))];
        section.split_once('=').unwrap().1.trim()
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let text = if text.len().is_multiple_of(2) { text } else { format!("0{text}") };
    let parse = |pair: &str| u8::from_str_radix(pair, 16);
    let byte = |at| parse(&text[at..at + 2]).unwrap_or_else(|_| panic!("not hexadecimal: {text}"));
    (0..text.len()).step_by(2).map(byte).collect()
}

/// All records with a field. A field `name` also begins a new record, for files that leave no
/// empty line between them.
pub(crate) fn records(text: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let mut current = Record::default();
    let mut flush = |current: &mut Record| {
        if !current.fields.is_empty() {
            records.push(current.clone());
            current.fields.clear();
        }
    };
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            flush(&mut current);
        } else if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            flush(&mut current);
            let name = section.split('=').next().unwrap_or_default().trim().to_owned();
            current
                .sections
                .retain(|known| known.split('=').next().unwrap_or_default().trim() != name);
            current.sections.insert(0, section.to_owned());
        } else if !line.starts_with('#') {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            current.fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    flush(&mut current);
    records
}

/// Pairs of `# Name:` and the hexadecimal lines below it; names in small letters, without numbers
/// of examples.
pub(crate) fn labelled(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix('#') {
            pairs.push((label.trim().trim_end_matches(':').to_lowercase(), String::new()));
        } else if let Some((_, value)) = pairs.last_mut().filter(|_| is_hex(line)) {
            value.push_str(line);
        }
    }
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.into_iter().map(|(name, value)| (name, unhex(&value))).collect()
}

fn is_hex(line: &str) -> bool {
    line.chars().all(|c| c.is_ascii_hexdigit() || c == ' ')
}
