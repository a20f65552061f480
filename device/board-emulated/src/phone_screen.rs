//! The phone's display over a cable: a relay of plain bytes between a loopback port and the
//! system's own `screen.sock`. The board does not look into them.
//!
//! While no system draws there, the board shows a page of its own: that the phone is off, that
//! it starts, how far recovery is with an update, or, in red, why it does not start.

use crate::sockets::connect_to;
use crate::status::{Board, Recovery, Refused};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;

const SOCKET: &str = "screen.sock";
/// The most connections at once.
const MAX_CONNECTIONS: usize = 64;
/// The longest head of a request that the board's own page is an answer to.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long a browser may take to send it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Relays connections of `listener` to the socket in the folder `run`, for ever.
pub async fn relay(listener: TcpListener, run: PathBuf, board: Arc<Board>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((browser, _)) = listener.accept().await else {
            // Out of descriptors, say: some come back as connections end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (run, board) = (run.clone(), board.clone());
        tokio::spawn(async move {
            let _place = place;
            // A connection that breaks is the browser's to repeat.
            let _ = carry(browser, &run, &board).await;
        });
    }
}

async fn carry(mut browser: TcpStream, run: &Path, board: &Board) -> io::Result<()> {
    browser.set_nodelay(true)?;
    let Ok(system) = connect_to(run, SOCKET) else {
        return show(&mut browser, board).await;
    };
    let system = std::os::unix::net::UnixStream::from(system);
    system.set_nonblocking(true)?;
    let mut system = UnixStream::from_std(system)?;
    copy_bidirectional(&mut browser, &mut system).await?;
    Ok(())
}

/// Answers one request with the board's own page.
async fn show(browser: &mut TcpStream, board: &Board) -> io::Result<()> {
    let head = tokio::time::timeout(PATIENCE, take_head(browser)).await;
    head.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let page = page(board.is_powered(), board.refused().as_ref(), board.recovery().as_ref());
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/html; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\ncache-control: no-store\r\n\
         refresh: 2\r\nx-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n\
         content-security-policy: default-src 'none'; style-src 'unsafe-inline'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\r\n{page}",
        page.len()
    );
    browser.write_all(answer.as_bytes()).await?;
    browser.shutdown().await
}

/// Reads a request's head; what it asks for does not matter.
async fn take_head(browser: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD_BYTES || browser.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

/// What stands on a display that no system draws on.
fn page(powered: bool, refused: Option<&Refused>, recovery: Option<&Recovery>) -> String {
    let (state, title, text) = match (refused, recovery) {
        (Some(Refused { stage, code, reason }), _) => {
            let text = format!(
                "{}</p><p>Stage {} &middot; {}</p><p>Flash a good image, or press the power \
                 button to try again.",
                escaped(reason),
                escaped(stage),
                escaped(code)
            );
            ("red", "This phone does not start", text)
        }
        (None, Some(Recovery { step, percent })) => {
            let text = format!(
                "{}: {percent} %</p><p>The phone restarts by itself. Power may be lost: it goes on \
                 where it was.",
                escaped(step)
            );
            ("recovery", "Updating", text)
        }
        (None, None) if powered => {
            ("black", "Starting", "The phone checks what it starts.".to_owned())
        }
        (None, None) => ("black", "Off", "The power button turns the phone on.".to_owned()),
    };
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <title>{title} &middot; Holdfast</title><style>body{{margin:0;min-height:100vh;\
         display:grid;place-content:center;background:#111;color:#eee;font:1.1rem/1.5 system-ui;\
         padding:2rem}}main{{max-width:32rem;overflow-wrap:anywhere}}\
         [data-boot=red] h1{{color:#ff6b60}}</style>\
         <body data-boot={state}><main><h1>{title}</h1><p>{text}</p></main></body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(board: &Arc<Board>, run: &Path) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let relaying = tokio::spawn(relay(listener, run.to_owned(), board.clone()));
        let mut browser = TcpStream::connect(at).await.unwrap();
        browser.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        browser.read_to_string(&mut answer).await.unwrap();
        relaying.abort();
        answer
    }

    #[tokio::test]
    async fn s2_2_red_is_shown_with_its_reason() {
        let run = tempfile::tempdir().unwrap();
        let board = Arc::new(Board::default());
        assert!(get(&board, run.path()).await.contains("<h1>Off</h1>"));
        board.powered_on(0, board::power::ResetReason::PowerButton);
        assert!(get(&board, run.path()).await.contains("<h1>Starting</h1>"));
        board.refuse("kernel", "ERROR_VERIFICATION", "boot_a is <not> what was signed");
        board.powered_off();
        let page = get(&board, run.path()).await;
        assert!(page.starts_with("HTTP/1.1 503 "), "{page}");
        assert!(page.contains("data-boot=red"), "{page}");
        assert!(page.contains("boot_a is &lt;not&gt; what was signed"), "{page}");
        assert!(page.contains("Stage kernel &middot; ERROR_VERIFICATION"), "{page}");
    }

    #[tokio::test]
    async fn s2_6_recovery_shows_how_far_it_is() {
        use board::report::Record;
        let run = tempfile::tempdir().unwrap();
        let board = Arc::new(Board::default());
        board.powered_on(0, board::power::ResetReason::PowerButton);
        board.note(Record::Recovery { step: "writing <system>".into(), percent: 40 });
        let page = get(&board, run.path()).await;
        assert!(page.contains("data-boot=recovery"), "{page}");
        assert!(page.contains("writing &lt;system&gt;: 40 %"), "{page}");
        board.note(Record::Ready);
        board.note(Record::Recovery { step: "anything".into(), percent: 1 });
        assert!(!get(&board, run.path()).await.contains("anything"), "the system says nothing");
        board.powered_off();
        assert!(get(&board, run.path()).await.contains("<h1>Off</h1>"));
    }

    #[tokio::test]
    async fn a_system_draws_its_own_page() {
        let run = tempfile::tempdir().unwrap();
        let system = tokio::net::UnixListener::bind(run.path().join(SOCKET)).unwrap();
        tokio::spawn(async move {
            let (mut browser, _) = system.accept().await.unwrap();
            take_head(&mut browser).await.unwrap();
            browser.write_all(b"the system's").await.unwrap();
        });
        assert_eq!(get(&Arc::default(), run.path()).await, "the system's");
    }
}
