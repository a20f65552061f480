//! The pages, as askama templates: everything that comes from outside is escaped there.

use super::{Screen, guard, is_link};
use crate::device::{Booted, Device, Entry, EntryKind, Listing, Prompt, View};
use crate::percent;
use crate::record::Notification;
use askama::Template;
use effects::UnixMillis;

/// Entries of one folder that a page shows.
const MAX_ENTRIES: usize = 2000;

/// What surrounds every page.
pub(super) struct Frame {
    pub(super) revision: u64,
    pub(super) state: String,
    pub(super) view: &'static str,
    pub(super) clock: String,
    pub(super) date: String,
    pub(super) connected: bool,
    pub(super) unlocked: bool,
    pub(super) boot_state: &'static str,
    pub(super) boot_warning: Option<String>,
    pub(super) corrupt: bool,
    pub(super) alarm: bool,
    pub(super) asking: bool,
    pub(super) trusted_screen: Option<String>,
    pub(super) prompt_title: &'static str,
    pub(super) notice: Option<String>,
}

struct Note {
    id: u64,
    app: String,
    title: String,
    body: Option<String>,
    at: String,
    iso: String,
}

#[derive(Template)]
#[template(path = "lock.html")]
struct LockPage {
    frame: Frame,
    lost: Option<String>,
    account: Option<String>,
    notifications: Vec<Note>,
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    notifications: Vec<Note>,
    account: Option<String>,
    find_enabled: bool,
    serial: String,
    boot_no: u64,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetUpPage {
    frame: Frame,
    account: Option<String>,
}

#[derive(Template)]
#[template(path = "activation.html")]
struct ActivationPage {
    frame: Frame,
    owner_hint: Option<String>,
}

#[derive(Template)]
#[template(path = "erased.html")]
struct ErasedPage {
    frame: Frame,
}

#[derive(Template)]
#[template(path = "files.html")]
struct FilesPage {
    frame: Frame,
    trail: Vec<Step>,
    entries: Vec<Row>,
    more: usize,
}

/// One folder on the way to the one that is shown.
struct Step {
    name: String,
    href: Option<String>,
}

struct Row {
    name: String,
    kind: &'static str,
    detail: String,
    href: Option<String>,
}

/// What a page must be rendered anew for, even while somebody types.
pub(super) fn state(device: &Device) -> String {
    let asking = if device.prompt().is_some() { "+prompt" } else { "" };
    let alarm = if device.alarm_sounds() { "+alarm" } else { "" };
    format!("{}{asking}{alarm}", device.view().name())
}

/// The page for the state that the device is in.
pub(super) fn home(screen: &Screen) -> askama::Result<String> {
    let device = &screen.device;
    let frame = frame(screen);
    let facts = device.summary();
    match device.view() {
        View::Erased => ErasedPage { frame }.render(),
        View::Activation { owner_hint } => ActivationPage { frame, owner_hint }.render(),
        View::SetUp => SetUpPage { frame, account: facts.account }.render(),
        View::Lost { message } => {
            let lost = Some(message);
            LockPage { frame, lost, account: facts.account, notifications: Vec::new() }.render()
        }
        View::Locked => {
            let notifications = notes(device, false);
            LockPage { frame, lost: None, account: facts.account, notifications }.render()
        }
        View::Open => HomePage {
            frame,
            notifications: notes(device, true),
            account: facts.account,
            find_enabled: facts.find_enabled,
            serial: facts.serial.unwrap_or_else(|| "none yet".into()),
            boot_no: facts.boot_no,
        }
        .render(),
    }
}

/// A folder.
pub(super) fn files(screen: &Screen, path: &[u8], listing: &Listing) -> askama::Result<String> {
    let shown = listing.entries.iter().take(MAX_ENTRIES);
    FilesPage {
        frame: frame(screen),
        trail: trail(path),
        entries: shown.map(|entry| row(path, entry)).collect(),
        more: listing.entries.len().saturating_sub(MAX_ENTRIES),
    }
    .render()
}

pub(super) fn frame(screen: &Screen) -> Frame {
    let device = &screen.device;
    // Read first: a change while the page is made is then seen as one.
    let revision = *device.revision().borrow();
    let prompt = device.prompt();
    let booted = device.summary().booted;
    let (clock, date, _) = in_words(device.now());
    Frame {
        revision,
        state: state(device),
        view: device.view().name(),
        clock,
        date,
        connected: device.is_connected(),
        unlocked: device.view() == View::Open,
        boot_state: booted.state,
        boot_warning: boot_warning(&booted),
        corrupt: booted.corrupt,
        alarm: device.alarm_sounds(),
        asking: prompt.is_some(),
        trusted_screen: prompt.and_then(|_| guard::trusted_origin(&screen.trusted_url)),
        prompt_title: match prompt {
            Some(Prompt::Enrol) => "set a screen lock",
            Some(Prompt::Bootloader) => "the bootloader",
            Some(Prompt::Confirm) => "a text to confirm",
            _ => "unlock",
        },
        notice: device.notice(),
    }
}

/// What everybody who looks at the phone must know of its system, as Android's bootloader shows
/// it: whose key it is, in yellow and orange.
fn boot_warning(booted: &Booted) -> Option<String> {
    let digest = booted.key.as_deref().and_then(board::argument::unhex);
    let digest = digest.and_then(|digest| digest.try_into().ok());
    let key = digest.map(|digest: [u8; 32]| tee_api::boot::fingerprint(&digest));
    match (booted.state, key) {
        ("yellow", Some(key)) => {
            Some(format!("This phone runs another system than its maker's. Its key is {key}."))
        }
        ("orange", Some(key)) => Some(format!(
            "The bootloader is unlocked: nobody vouches for this system. Its key is {key}."
        )),
        ("orange", None) => Some(
            "The bootloader is unlocked: nobody vouches for this system, and nobody signed it."
                .into(),
        ),
        _ => None,
    }
}

/// On the lock screen everybody can read: the text stays away until the device is open.
fn notes(device: &Device, open: bool) -> Vec<Note> {
    let note = |notification: Notification| {
        let (at, _, iso) = in_words(UnixMillis(notification.at_ms));
        let Notification { id, app, title, body, .. } = notification;
        Note { id, app, title, body: open.then_some(body), at, iso }
    };
    device.notifications().into_iter().map(note).collect()
}

fn trail(path: &[u8]) -> Vec<Step> {
    let names: Vec<_> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
    let mut steps = vec![Step { name: "Files".into(), href: Some("/files".into()) }];
    for (depth, name) in names.iter().enumerate() {
        let so_far = names[..=depth].join(&b'/');
        let href = Some(format!("/files?path={}", percent::encode(&so_far)));
        steps.push(Step { name: String::from_utf8_lossy(name).into_owned(), href });
    }
    if let Some(last) = steps.last_mut() {
        last.href = None;
    }
    steps
}

fn row(folder: &[u8], entry: &Entry) -> Row {
    let mut path = folder.to_vec();
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(&entry.name);
    let path = percent::encode(&path);
    let (page, kind) = match entry.kind {
        EntryKind::Folder => ("/files", "folder"),
        EntryKind::File => ("/files/content", "file"),
        EntryKind::Symlink => ("", "link"),
    };
    let detail = match (entry.kind, &entry.target) {
        (EntryKind::File, _) => size_in_words(entry.size),
        (EntryKind::Symlink, Some(target)) => {
            format!("link to {}", String::from_utf8_lossy(target))
        }
        _ => String::new(),
    };
    let href = is_link(entry.kind).then(|| format!("{page}?path={path}"));
    Row { name: String::from_utf8_lossy(&entry.name).into_owned(), kind, detail, href }
}

pub(super) fn size_in_words(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", units[unit])
}

/// `14:05`, `Sunday 22 November`, `2026-11-22T14:05:00Z`; in UTC until the page's own clock
/// takes over.
fn in_words(time: UnixMillis) -> (String, String, String) {
    const DAYS: [&str; 7] =
        ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (days, of_day) = (time.seconds() / 86_400, time.seconds() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    (
        format!("{hour:02}:{minute:02}"),
        format!("{} {day} {}", DAYS[(days % 7) as usize], MONTHS[(month - 1) as usize]),
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
    )
}

/// Year, month and day of a day since 1970 (Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
const fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        let (clock, date, iso) = in_words(UnixMillis(1_795_356_300_000));
        assert_eq!(clock, "14:05");
        assert_eq!(date, "Sunday 22 November");
        assert_eq!(iso, "2026-11-22T14:05:00Z");
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(size_in_words(1023), "1023 B");
        assert_eq!(size_in_words(1536), "1.5 KiB");
        assert_eq!(size_in_words(5 << 30), "5.0 GiB");
    }
}
