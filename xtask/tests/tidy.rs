//! House rules, as tests: who may know whom, what the trusted side links, how long a file may be.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Inside `device/` a crate imports only entries above it, nearer the metal.
const DEVICE_ORDER: &[&str] = &[
    "board",
    "tee-api",
    "secure-storage",
    "rpmb-chip",
    "board-tpm2",
    "board-emulated",
    "boot",
    "baseband",
    "factory",
    "tee-engine",
    "tee-sdk",
    "tee-os",
    "tee-client",
    "ta-keymint",
    "ta-gatekeeper",
    "keystore-client",
    "keystore",
    "secure-element",
    "device-eid",
    "element-emulated",
    "vault",
    "vault-fuse",
    "vault-fscrypt",
    "device-update",
    "device-link",
    "system",
];

/// Programs that are trusted: what they link is a checked-in list.
const TRUSTED: &[&str] = &["boot", "tee-os", "ta-keymint", "ta-gatekeeper"];

/// The longest a source file may be without standing in `tidy/long-files.txt`.
const LINES: usize = 600;

#[test]
fn formats_import_formats_and_crypto_only() {
    let workspace = Workspace::read();
    for package in workspace.in_wing("formats") {
        for dependency in workspace.ours(package) {
            let wing = workspace.wing(dependency);
            assert!(
                wing == "formats" || dependency == "crypto",
                "{package} (formats) imports {dependency} ({wing})"
            );
        }
    }
    assert!(workspace.ours("crypto").is_empty(), "base/crypto is a leaf");
}

#[test]
fn formats_do_no_input_or_output_and_start_no_thread() {
    let formats = root().join("formats");
    for path in sources().into_iter().filter(|path| path.starts_with(&formats)) {
        if !path.components().any(|part| part.as_os_str() == "src") || path.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        // What an example of the documentation does, its reader's program does.
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = code.collect::<Vec<_>>().join("\n");
        for effect in
            ["fs", "net", "env::", "thread", "process", "os"].map(|it| format!("std::{it}"))
        {
            assert!(!code.contains(&effect), "{} uses {effect}", path.display());
        }
        for clock in ["SystemTime", "Instant"] {
            assert!(!code.contains(clock), "{} reads the clock", path.display());
        }
    }
}

#[test]
fn every_format_has_a_fuzz_target() {
    let workspace = Workspace::read();
    for package in workspace.in_wing("formats") {
        let target = root().join(format!("fuzz/targets/{package}.rs"));
        assert!(target.exists(), "{} is missing", target.display());
    }
}

#[test]
fn device_and_cloud_meet_in_base_only() {
    let workspace = Workspace::read();
    for (from, to) in
        [("device", "cloud"), ("cloud", "device"), ("base", "device"), ("base", "cloud")]
    {
        for package in workspace.in_wing(from) {
            for dependency in workspace.ours(package) {
                assert_ne!(workspace.wing(dependency), to, "{package} imports {dependency}");
            }
        }
    }
}

#[test]
fn device_crates_import_towards_the_metal() {
    let workspace = Workspace::read();
    let place = |name: &str| DEVICE_ORDER.iter().position(|it| *it == name);
    for package in workspace.in_wing("device") {
        let here =
            place(package).unwrap_or_else(|| panic!("{package} has no place in DEVICE_ORDER"));
        for dependency in workspace.ours(package) {
            if let Some(there) = place(dependency) {
                assert!(
                    there < here,
                    "{package} imports {dependency}, which is farther from the metal"
                );
            }
        }
    }
}

#[test]
fn trusted_applications_know_only_their_sdk() {
    let workspace = Workspace::read();
    for package in workspace.in_wing("device").filter(|name| name.starts_with("ta-")) {
        for dependency in workspace.ours(package) {
            let allowed = ["tee-sdk", "tee-api", "crypto"].contains(&dependency)
                || workspace.wing(dependency) == "formats";
            assert!(allowed, "{package} imports {dependency}");
        }
    }
}

#[test]
fn cloud_services_do_not_import_each_other() {
    let workspace = Workspace::read();
    for package in workspace.in_wing("cloud").filter(|name| *name != "cloud-server") {
        for dependency in workspace.ours(package) {
            assert_ne!(workspace.wing(dependency), "cloud", "{package} imports {dependency}");
        }
    }
    for package in workspace.packages.keys() {
        assert!(
            !workspace.ours(package).contains("cloud-keycenter"),
            "{package} imports the Key Center; it is asked through base/keycenter-client"
        );
    }
}

#[test]
fn what_the_trusted_side_links_is_what_the_list_says() {
    let workspace = Workspace::read();
    let linked: BTreeSet<String> =
        TRUSTED.iter().flat_map(|package| workspace.all_beneath(package)).collect();
    let path = root().join("docs/trusted-computing-base.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let listed: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let new: Vec<_> = linked.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&linked).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "docs/trusted-computing-base.txt differs from the build.\nnew: {new:?}\ngone: {gone:?}\n\
         The list grows only with a record in docs/decisions."
    );
}

#[test]
fn files_are_short_or_listed_and_the_list_only_shrinks() {
    let list = std::fs::read_to_string(root().join("xtask/tests/long-files.txt")).unwrap();
    let listed: BTreeMap<&str, usize> = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(' ').expect("a path and a number"))
        .map(|(path, lines)| (path, lines.parse().expect("a number of lines")))
        .collect();
    for path in sources() {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        let limit = listed.get(name.as_str()).copied().unwrap_or(LINES);
        assert!(lines <= limit, "{name} has {lines} lines; {limit} are allowed");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for path in sources().into_iter().filter(|path| !path.ends_with("tidy.rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore"] {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}

/// The workspace, as cargo sees it.
struct Workspace {
    /// Name → folder relative to the root.
    packages: BTreeMap<String, String>,
    /// Our packages' normal dependencies on our packages.
    ours: BTreeMap<String, BTreeSet<String>>,
    /// Package id → (name, ids of normal dependencies), for everything.
    graph: BTreeMap<String, (String, Vec<String>)>,
}

impl Workspace {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--filter-platform", &host()])
            .current_dir(root())
            .output()
            .expect("cargo metadata runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let root = text(&metadata["workspace_root"]);

        let mut packages = BTreeMap::new();
        let mut names = BTreeMap::new();
        let mut macros = BTreeSet::new();
        for package in list(&metadata["packages"]) {
            names.insert(text(&package["id"]), text(&package["name"]));
            let kinds = list(&package["targets"])
                .iter()
                .flat_map(|it| list(&it["kind"]))
                .collect::<Vec<_>>();
            if kinds.iter().any(|kind| kind == "proc-macro") {
                macros.insert(text(&package["id"]));
            }
            let manifest = text(&package["manifest_path"]);
            if let Some(folder) = manifest.strip_prefix(&format!("{root}/")) {
                let folder = folder.trim_end_matches("/Cargo.toml").to_owned();
                packages.insert(text(&package["name"]), folder);
            }
        }
        let mut graph = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let normal = list(&node["deps"])
                .into_iter()
                .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
                .map(|dep| text(&dep["pkg"]))
                // Macros run at build time; nothing of them is linked.
                .filter(|id| !macros.contains(id))
                .collect::<Vec<_>>();
            let id = text(&node["id"]);
            graph.insert(id.clone(), (names[&id].clone(), normal));
        }
        let ours = graph
            .values()
            .filter(|(name, _)| packages.contains_key(name))
            .map(|(name, dependencies)| {
                let dependencies = dependencies
                    .iter()
                    .map(|id| names[id].clone())
                    .filter(|name| packages.contains_key(name))
                    .collect();
                (name.clone(), dependencies)
            })
            .collect();
        Self { packages, ours, graph }
    }

    fn wing(&self, package: &str) -> &str {
        self.packages[package].split('/').next().unwrap_or_default()
    }

    fn in_wing<'a>(&'a self, wing: &'a str) -> impl Iterator<Item = &'a str> {
        self.packages.keys().map(String::as_str).filter(move |name| self.wing(name) == wing)
    }

    fn ours(&self, package: &str) -> BTreeSet<&str> {
        self.ours[package].iter().map(String::as_str).collect()
    }

    /// Names of all that `package` links, build-time things left out.
    fn all_beneath(&self, package: &str) -> BTreeSet<String> {
        let mut open: Vec<&String> =
            self.graph.iter().filter(|(_, (name, _))| name == package).map(|(id, _)| id).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(&self.graph[id].1);
            }
        }
        seen.into_iter().map(|id| self.graph[id].0.clone()).collect()
    }
}

/// This machine's target.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line =
        text.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc tells its host");
    line.to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Every Rust source of ours.
fn sources() -> Vec<PathBuf> {
    let mut open = vec![root().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                open.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found
}
