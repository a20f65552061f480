//! The options of vendor ramdisks, which come in groups: each group ends with
//! `--vendor_ramdisk_fragment`, and what stands before that is the fragment's.

use super::arguments::{ramdisk_type, word};
use bootimg::boot::BOARD_ID_WORDS;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use std::path::PathBuf;

const FRAGMENT: &str = "vendor_ramdisk_fragment";
const NAME: &str = "ramdisk_name";
const TYPE: &str = "ramdisk_type";

/// One vendor ramdisk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) kind: u32,
    pub(crate) name: Option<String>,
    pub(crate) board_id: [u32; BOARD_ID_WORDS],
    pub(crate) path: PathBuf,
}

/// All of them, in the order in which they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fragments(pub(crate) Vec<Fragment>);

const BOARD_IDS: [&str; BOARD_ID_WORDS] = [
    "board_id0",
    "board_id1",
    "board_id2",
    "board_id3",
    "board_id4",
    "board_id5",
    "board_id6",
    "board_id7",
    "board_id8",
    "board_id9",
    "board_id10",
    "board_id11",
    "board_id12",
    "board_id13",
    "board_id14",
    "board_id15",
];

impl Args for Fragments {
    fn augment_args(command: Command) -> Command {
        let option = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Append);
        let command = command
            .arg(
                option(TYPE)
                    .value_name("TYPE")
                    .help("Type of the next fragment: none, platform, recovery, dlkm or a number"),
            )
            .arg(option(NAME).value_name("NAME").help("Name of the next fragment"))
            .arg(option(FRAGMENT).value_name("FILE").help(
                "A vendor ramdisk of version 4; the options before it describe it. May be repeated",
            ));
        BOARD_IDS.into_iter().fold(command, |command, name| {
            let number = option(name).value_name("NUMBER");
            let number = number.help("Board id of the next fragment: --board_id0 to --board_id15");
            // One line in the help stands for all sixteen.
            command.arg(number.hide(name != BOARD_IDS[0]))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Fragments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given: Vec<(usize, &str, &str)> = Vec::new();
        for name in [TYPE, NAME, FRAGMENT].into_iter().chain(BOARD_IDS) {
            let places = matches.indices_of(name).into_iter().flatten();
            let values = matches.get_many::<String>(name).into_iter().flatten();
            given.extend(places.zip(values).map(|(place, value)| (place, name, value.as_str())));
        }
        given.sort_unstable();
        let given = given.into_iter().map(|(_, name, value)| (name, value));
        groups(given)
            .map(Self)
            .map_err(|error| Error::raw(ErrorKind::ValueValidation, error + "\n"))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Options and values in the order of the command line, as fragments.
fn groups<'a>(given: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Vec<Fragment>, String> {
    let mut found = Vec::new();
    let mut next = Fragment::default();
    let mut last = None;
    for (name, value) in given {
        let wrong = |error: String| format!("--{name} {value:?}: {error}");
        last = Some(name);
        match name {
            TYPE => next.kind = ramdisk_type(value).map_err(wrong)?,
            NAME => next.name = Some(value.to_owned()),
            FRAGMENT if next.name.is_none() => {
                return Err(wrong(format!("--{NAME} is due before it")));
            }
            FRAGMENT => {
                next.path = value.into();
                found.push(std::mem::take(&mut next));
                last = None;
            }
            _ => {
                let place = BOARD_IDS.iter().position(|id| *id == name);
                let place = place.and_then(|place| next.board_id.get_mut(place));
                *place.ok_or_else(|| wrong("no such option".into()))? =
                    word(value).map_err(wrong)?;
            }
        }
    }
    match last {
        Some(name) => Err(format!("--{name}: no --{FRAGMENT} follows it")),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<Fragment>, String> {
        let command = Fragments::augment_args(Command::new("pack"));
        let matches = command.try_get_matches_from(line.split(' ')).map_err(|it| it.to_string())?;
        Fragments::from_arg_matches(&matches).map(|it| it.0).map_err(|it| it.to_string())
    }

    #[test]
    fn each_fragment_has_the_options_before_it() {
        let found = read(
            "pack --ramdisk_name a --board_id15 0xff --vendor_ramdisk_fragment x \
             --ramdisk_type dlkm --ramdisk_name b --vendor_ramdisk_fragment y",
        )
        .unwrap();
        let mut board_id = [0; BOARD_ID_WORDS];
        board_id[15] = 255;
        let first = Fragment { kind: 0, name: Some("a".into()), board_id, path: "x".into() };
        let name = Some("b".into());
        let second = Fragment { kind: 3, name, board_id: [0; 16], path: "y".into() };
        assert_eq!(found, [first, second]);
        assert_eq!(read("pack"), Ok(vec![]));
    }

    #[test]
    fn options_that_belong_to_no_fragment_are_refused() {
        for (line, why) in [
            ("pack --vendor_ramdisk_fragment x", "ramdisk_name is due"),
            ("pack --ramdisk_name a", "no --vendor_ramdisk_fragment follows"),
            ("pack --ramdisk_name a --board_id0 x --vendor_ramdisk_fragment y", "board_id0"),
            ("pack --ramdisk_type x --vendor_ramdisk_fragment y", "ramdisk_type"),
        ] {
            let refused = read(line).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
