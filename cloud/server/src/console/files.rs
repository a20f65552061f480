//! Files: the newest snapshot, what opening it needs, its tree, and its files.

use super::page::{Frame, Moment, PageFault, grouped, show, size};
use super::session::Visitor;
use crate::app::App;
use crate::fault::Fault;
use crate::restore::{self, KeyPolicy, Opener};
use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use effects::UnixMillis;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use keycenter_client::KeyCenter;
use serde::Deserialize;
use snapshot::manifest::{Entry, Kind, Manifest};
use snapshot::path::TreePath;
use std::fmt::Write as _;
use std::sync::Arc;
use wire::sync::Head;

/// The most lines of a folder on one page.
const LINES: usize = 1000;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/files", get(page)).route("/files/content", get(content))
}

/// Which folder or file: its path, base64url, because names need not be text.
#[derive(Deserialize)]
struct At {
    at: Option<String>,
}

impl At {
    fn path(&self) -> Result<TreePath, Fault> {
        let bytes = URL_SAFE_NO_PAD.decode(self.at.as_deref().unwrap_or_default());
        bytes
            .ok()
            .and_then(|bytes| TreePath::new(bytes).ok())
            .ok_or_else(|| Fault::not_found("file or folder"))
    }
}

fn link(path: &TreePath) -> String {
    URL_SAFE_NO_PAD.encode(path.as_bytes())
}

/// A line of a folder.
struct Line {
    name: String,
    link: String,
    folder: bool,
    file: bool,
    what: String,
    size: String,
    changed: String,
}

impl Line {
    fn new(entry: &Entry, manifest: &Manifest) -> Self {
        let name = entry.path.split().map_or(&b""[..], |(_, name)| name).to_vec();
        let (what, bytes) = match &entry.kind {
            Kind::Directory => ("Folder".to_owned(), None),
            Kind::File { size, .. } => ("File".to_owned(), Some(*size)),
            Kind::Symlink { target } => {
                (format!("Link to {}", String::from_utf8_lossy(target)), None)
            }
            Kind::Hardlink { target } => {
                ("File".to_owned(), restore::file(manifest, target).map(|(size, _)| size))
            }
        };
        let seconds = u64::try_from(entry.attributes.mtime_s).unwrap_or(0);
        Self {
            name: String::from_utf8_lossy(&name).into_owned(),
            link: link(&entry.path),
            folder: entry.kind == Kind::Directory,
            file: bytes.is_some(),
            what,
            size: bytes.map_or_else(String::new, size),
            changed: super::page::exact(UnixMillis(seconds.saturating_mul(1000))),
        }
    }
}

/// A step from the root to the folder that is shown.
struct Crumb {
    name: String,
    link: String,
}

fn crumbs(path: &TreePath) -> Vec<Crumb> {
    let mut at = TreePath::root();
    let mut crumbs = vec![Crumb { name: "All files".into(), link: link(&at) }];
    for name in path.names() {
        let Ok(next) = at.join(name) else { break };
        at = next;
        crumbs.push(Crumb { name: String::from_utf8_lossy(name).into_owned(), link: link(&at) });
    }
    crumbs
}

/// The figures of a snapshot.
struct Figures {
    generation: u64,
    files: String,
    bytes: String,
    made: Moment,
    device: String,
}

/// The owner's key, in words.
struct KeyLine {
    name: String,
    kind: String,
    versions: usize,
    exportable: bool,
}

#[derive(Template)]
#[template(path = "files.html")]
struct FilesPage {
    frame: Frame,
    figures: Option<Figures>,
    key: Option<KeyLine>,
    policy: String,
    crumbs: Vec<Crumb>,
    lines: Vec<Line>,
    more: usize,
}

async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Query(at): Query<At>,
) -> Result<Response, PageFault> {
    let caller = &visitor.caller;
    let path = at.path()?;
    let keys = restore::owner_keys(&app, caller).await?;
    let KeyPolicy { key, policy } = restore::key_policy(&keys, caller).await?;
    let key = key.map(|key| KeyLine {
        name: format!("user-{}…", caller.account_id.chars().take(6).collect::<String>()),
        kind: key.kind,
        versions: key.keys.len().max(1),
        exportable: key.exportable,
    });
    let mut page = FilesPage {
        frame: Frame::new(&visitor, "files", "Files"),
        figures: None,
        key,
        policy,
        crumbs: crumbs(&path),
        lines: Vec::new(),
        more: 0,
    };
    if let Some((mut opener, head)) = open(&app, &visitor, keys).await? {
        let manifest = opener.manifest(&head).await?;
        page.figures = Some(figures(&app, &visitor, &head).await?);
        (page.lines, page.more) = lines(&manifest, &path)?;
    }
    show(&page)
}

async fn open(
    app: &App,
    visitor: &Visitor,
    keys: Arc<KeyCenter>,
) -> Result<Option<(Opener, Head)>, Fault> {
    let caller = &visitor.caller;
    let Some(head) = app.sync.head(&caller.subject.0).await? else { return Ok(None) };
    Ok(Opener::new(app, caller, keys).await?.map(|opener| (opener, head)))
}

async fn figures(app: &App, visitor: &Visitor, head: &Head) -> Result<Figures, Fault> {
    let devices = app.accounts.devices(&visitor.caller.subject).await?;
    let device = devices.into_iter().find(|device| device.device_id == head.device_id);
    Ok(Figures {
        generation: head.generation,
        files: grouped(head.files),
        bytes: size(head.bytes),
        made: Moment::new(UnixMillis(head.at_ms), app.clock.now()),
        device: device.map_or_else(|| "a device of before".into(), |device| device.name),
    })
}

/// The folder's lines, folders first, and how many more there are.
fn lines(manifest: &Manifest, folder: &TreePath) -> Result<(Vec<Line>, usize), Fault> {
    let is_here = |entry: &&Entry| entry.path.split().is_some_and(|(parent, _)| parent == *folder);
    let is_folder = |entry: &Entry| entry.path == *folder && matches!(entry.kind, Kind::Directory);
    if !folder.is_root() && !manifest.entries.iter().any(is_folder) {
        return Err(Fault::not_found("file or folder"));
    }
    let mut here: Vec<&Entry> = manifest.entries.iter().filter(is_here).collect();
    here.sort_by_key(|entry| entry.kind != Kind::Directory);
    let more = here.len().saturating_sub(LINES);
    let lines = here.into_iter().take(LINES).map(|entry| Line::new(entry, manifest)).collect();
    Ok((lines, more))
}

/// A file, decrypted as it is sent.
async fn content(
    State(app): State<App>,
    visitor: Visitor,
    Query(at): Query<At>,
) -> Result<Response, PageFault> {
    let path = at.path()?;
    let missing = || Fault::not_found("file or folder");
    let keys = restore::owner_keys(&app, &visitor.caller).await?;
    let (mut opener, head) = open(&app, &visitor, keys).await?.ok_or_else(missing)?;
    let manifest = opener.manifest(&head).await?;
    let (size, pieces) = restore::file(&manifest, &path).ok_or_else(missing)?;
    let (_, name) = path.split().ok_or_else(missing)?;
    app.accounts.record("owner", "file_downloaded", &visitor.caller.subject, "").await?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, size.to_string()),
        (CONTENT_DISPOSITION, disposition(name)),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
    ];
    Ok((headers, Body::from_stream(opener.download(size, pieces.to_vec()))).into_response())
}

/// RFC 6266 with an RFC 8187 name: any bytes that are UTF-8 text survive.
fn disposition(name: &[u8]) -> String {
    let mut out = "attachment; filename*=UTF-8''".to_owned();
    for byte in String::from_utf8_lossy(name).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes every text");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        assert_eq!(
            disposition("a\"; x=\r\nü".as_bytes()),
            "attachment; filename*=UTF-8''a%22%3B%20x%3D%0D%0A%C3%BC"
        );
    }

    #[test]
    fn a_path_that_leaves_the_tree_is_not_found() {
        for bad in ["../etc", "/etc", "a//b", "a/../b"] {
            let at = At { at: Some(URL_SAFE_NO_PAD.encode(bad)) };
            assert!(at.path().is_err(), "{bad}");
        }
        assert!(At { at: Some("not base64!".into()) }.path().is_err());
        assert!(At { at: None }.path().is_ok());
    }
}
