//! The trusted screen's page in a real Chromium, driven by Playwright: every input, and another
//! origin that tries to get in between.

use board::channel;
use board::ui::{FromScreen, Input, Mark, Prompt, ToScreen};
use board_emulated::screen::Screen;
use board_emulated::trusted_screen;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The trusted OS at the other end of the screen's channel.
struct Tee {
    channel: OwnedFd,
    mark: Option<Mark>,
    last: u64,
}

impl Tee {
    fn show(&mut self, title: &str, input: Input) {
        self.last += 1;
        let (title, detail) = (title.to_owned(), "One sentence more.".to_owned());
        let prompt = Prompt { title, detail, input };
        prompt.check().expect("it can be shown");
        let mark = self.mark.clone();
        channel::send(&self.channel, &ToScreen::Show { id: self.last, prompt, mark }).unwrap();
    }

    fn hears(&self) -> FromScreen {
        channel::receive(&self.channel).unwrap()
    }

    /// Shows a prompt; this must be the answer.
    fn asks(&mut self, title: &str, input: Input, answer: &str) {
        self.show(title, input);
        assert_eq!(self.hears(), FromScreen::Entered { id: self.last, text: answer.into() });
    }

    /// What `page.mjs` plays, in its order.
    fn plays(&mut self, lines: &mut impl Iterator<Item = String>) {
        const PATTERN: Input = Input::Pattern { min_dots: 4 };
        assert_eq!(self.hears(), FromScreen::ChangeMark);
        self.asks("Make this screen yours", Input::Mark, "fish Kelpie");
        self.mark = Some(Mark::parse("fish Kelpie").unwrap());
        self.asks("Unlock", Input::Pin { min_digits: 4, max_digits: 16 }, "123456");
        self.asks("Unlock", Input::Password { min_chars: 4, max_chars: 16 }, "t!de-Pool7");
        for way in ["14789", "2589", "3698"] {
            self.asks("Unlock", PATTERN, way);
        }
        let lines_of_text: Vec<_> = (1..60).map(|line| format!("{line}. of the terms")).collect();
        let text = format!("Pay 12.50 €\n{}\nThe end.", lines_of_text.join("\n"));
        self.asks("Confirm this?", Input::Transaction { text }, "");
        self.show("Confirm this?", Input::Transaction { text: "Pay 1 € to Jo".into() });
        assert_eq!(self.hears(), FromScreen::Cancelled { id: self.last });
        self.show("Lock the bootloader?", Input::Confirm);
        assert!(lines.any(|line| line == "swap"), "the browser did not come to the swap");
        channel::send(&self.channel, &ToScreen::Cancel { id: self.last }).unwrap();
        self.show("Confirm this?", Input::Transaction { text: "Pay everything to Al".into() });
        assert_eq!(self.hears(), FromScreen::Cancelled { id: self.last });
    }
}

#[tokio::test]
async fn s2_1_1_a_person_enters_everything_and_another_origin_nothing() {
    let Some(packages) = std::env::var_os("HOLDFAST_BROWSER") else {
        return absent("HOLDFAST_BROWSER is not set: run this through `cargo xtask test`");
    };
    if !Path::new(&packages).join("node_modules/playwright-core").exists() {
        return absent("playwright-core is missing: `cargo xtask test` installs it");
    }
    if !Path::new("/usr/bin/chromium").exists() && std::env::var_os("HOLDFAST_CHROMIUM").is_none() {
        return absent("chromium is missing: install it, or name one in HOLDFAST_CHROMIUM");
    }
    let (tee, ours) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let screen = Arc::new(Screen::default());
    let serving = screen.clone();
    std::thread::spawn(move || serving.serve(ours));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let routes = trusted_screen::routes(screen, Arc::default(), at);
    tokio::spawn(async { axum::serve(listener, routes).await });
    tokio::task::spawn_blocking(move || browse(tee, &format!("http://{at}"))).await.unwrap();
}

/// Runs the browser; a complaint of its ends the test even while a prompt waits.
fn browse(channel: OwnedFd, url: &str) {
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trusted-screen");
    let mut node = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page.mjs"))
        .args([url.as_ref(), shots.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    let output = BufReader::new(node.stdout.take().unwrap());
    let (send, lines) = std::sync::mpsc::channel();
    let playing = std::thread::spawn(move || {
        let mut tee = Tee { channel, mark: None, last: 0 };
        tee.plays(&mut lines.into_iter());
    });
    let mut said = Vec::new();
    for line in output.lines().map_while(Result::ok) {
        said.push(line.clone());
        // Who plays may have ended: what the browser says then is its complaint.
        let _ = send.send(line);
    }
    let status = node.wait().unwrap();
    assert!(status.success(), "{}\npictures: {}", said.join("\n"), shots.display());
    playing.join().expect("every answer was the right one");
}

/// Says why the test can't run; under CI that is a failure.
fn absent(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("not run: {why}");
}
