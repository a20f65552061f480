//! Runs the commands of a page of the documentation, as a reader would type them.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A block of commands.
pub(crate) struct Block {
    /// It runs in a terminal of its own until Ctrl-C.
    pub(crate) terminal: bool,
    pub(crate) text: String,
}

/// The blocks of `sh` in `page`, a path in the repository.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(path).expect("the page is there");
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(kind @ ("sh" | "sh terminal")) = line.strip_prefix("```") else { continue };
        let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { terminal: kind == "sh terminal", text: inside.join("\n") });
    }
    blocks
}

/// Somebody who reads a page and types what it says.
pub(crate) struct Reader {
    home: PathBuf,
    /// `export` lines so far: each block runs in a shell of its own.
    exports: String,
    terminals: Vec<(String, Child)>,
}

impl Reader {
    pub(crate) fn at(home: &Path) -> Self {
        Self { home: home.to_owned(), exports: String::new(), terminals: Vec::new() }
    }

    fn shell(&self, text: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_holdfast")).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .arg("-euc")
            .arg(format!("umask 077\n{}{text}", self.exports))
            .env("HOME", &self.home)
            .env("PATH", format!("{}:{path}", programs.display()))
            .env_remove("HOLDFAST_STATE")
            .env_remove("HOLDFAST_SOCKET")
            .current_dir(&self.home);
        command
    }

    /// Types a block, waits for its end and gives back what it printed.
    pub(crate) fn types(&mut self, text: &str) -> String {
        let output = self.shell(text).output().expect("sh runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{said}\n{errors}");
        for line in text.lines().filter(|line| line.starts_with("export ")) {
            self.exports.push_str(line);
            self.exports.push('\n');
        }
        said
    }

    /// Types a command into a terminal of its own and waits for the line that it prints. The
    /// same command in an older terminal is ended first.
    pub(crate) fn starts(&mut self, text: &str) -> Value {
        if let Some(at) = self.terminals.iter().position(|(typed, _)| typed == text) {
            let (typed, child) = self.terminals.remove(at);
            interrupt(&typed, child);
        }
        let mut command = self.shell(&format!("exec {text}"));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh runs");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        self.terminals.push((text.to_owned(), child));
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{text} said {line:?}"))
    }

    /// Ctrl-C in every terminal, the youngest first: each ends cleanly.
    pub(crate) fn leaves(&mut self) {
        while let Some((typed, child)) = self.terminals.pop() {
            interrupt(&typed, child);
        }
    }
}

/// Ctrl-C in one terminal.
fn interrupt(typed: &str, mut child: Child) {
    let pid = i32::try_from(child.id()).expect("a process id");
    // SAFETY: a signal to a child that was not waited for.
    unsafe { libc::kill(pid, libc::SIGINT) };
    assert_eq!(child.wait().expect("it can be waited for").code(), Some(0), "{typed}");
}

impl Drop for Reader {
    fn drop(&mut self) {
        for (_, child) in &mut self.terminals {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
