//! `holdfast-element`: the emulated secure element in the foreground.

use anyhow::{Context, Result, bail};
use board::secure::RemoteSilicon;
use clap::{Args, Parser, Subcommand};
use effects::{Clock, SystemClock};
use element_emulated::binding::{Binding, KeyFile, OnBoard};
use element_emulated::card::Element;
use element_emulated::door::{self, Named};
use element_emulated::presence::Touches;
use element_emulated::store::{FileStorage, Store};
use element_emulated::{link, make};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::Sender;
use std::time::Duration;

const EXITS: &str = "Exit codes: 0 done, 2 the command line is wrong, 3 the environment lacks \
                     something: an element, a reader, a right.";
/// The environment lacks something: an element, a reader, a right.
const ENVIRONMENT: u8 = 3;
/// How long the reader may take to be there, and how often it is tried.
const READER_WITHIN: Duration = Duration::from_secs(10);
const TRY_EVERY: Duration = Duration::from_millis(20);

/// An emulated secure element with the PIV application.
#[derive(Parser)]
#[command(name = "holdfast-element", bin_name = "holdfast element", version, after_help = EXITS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an element, in the state of every new one: PIN 123456, PUK 12345678, the management key that every new one has
    Make(Place),
    /// Serve it in the foreground, to pcscd or to named programs
    Serve(Serve),
    /// Touch the element that is served, for keys that ask for it
    Touch {
        /// The element's folder
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
}

/// Where an element is.
#[derive(Args)]
struct Place {
    /// The element's folder
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The file that stands for the chip's own secrets and its counter; keep it apart from the
    /// folder, since both together are the element [default: element.key in the folder]
    #[arg(long, value_name = "FILE", conflicts_with = "on_board")]
    key: Option<PathBuf>,
    /// The board gives the secrets and the counter, over descriptor 3
    #[arg(long)]
    on_board: bool,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wire: WireTo,
    /// A program that may connect to the socket; may be repeated
    #[arg(long, value_name = "PROGRAM", requires = "socket")]
    allow: Vec<PathBuf>,
}

/// To whom.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct WireTo {
    /// pcscd's virtual reader (vsmartcard-vpcd), as 127.0.0.1:28963
    #[arg(long, value_name = "ADDR:PORT")]
    vpcd: Option<String>,
    /// A Unix socket for the programs that --allow names
    #[arg(long, value_name = "PATH", requires = "allow")]
    socket: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let done = match &arguments.command {
        Command::Make(place) => make_element(place),
        Command::Serve(asked) => serve(asked),
        Command::Touch { state } => touch(state),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-element: {error:#}");
            ExitCode::from(ENVIRONMENT)
        }
    }
}

impl Place {
    fn storage(&self) -> Box<FileStorage> {
        Box::new(FileStorage(self.state.join("element.state")))
    }

    fn key(&self) -> PathBuf {
        self.key.clone().unwrap_or_else(|| self.state.join("element.key"))
    }

    /// The board, or the file in its place; a new file where `new` says so.
    fn binding(&self, new: bool) -> Result<Box<dyn Binding>> {
        if self.on_board {
            let channel = board::exec::inherited(board::fds::SECURE)
                .context("no board gave a channel at descriptor 3")?;
            return Ok(Box::new(OnBoard(RemoteSilicon::new(channel))));
        }
        let path = self.key();
        let file = if new { KeyFile::create(path.clone()) } else { KeyFile::open(path.clone()) };
        Ok(Box::new(file.with_context(|| format!("the key file {}", path.display()))?))
    }

    /// One program at a time has the folder.
    fn lock(&self) -> Result<std::fs::File> {
        let path = self.state.join("lock");
        let options = std::fs::File::options().create(true).write(true).truncate(false).open(&path);
        let file = options.with_context(|| path.display().to_string())?;
        if file.try_lock().is_err() {
            bail!("another program has the element in {}", self.state.display());
        }
        Ok(file)
    }
}

fn make_element(place: &Place) -> Result<()> {
    std::fs::create_dir_all(&place.state).with_context(|| place.state.display().to_string())?;
    let _only_one = place.lock()?;
    let storage = place.storage();
    if storage.0.exists() {
        bail!("there is an element in {} already", place.state.display());
    }
    let store = make::make(storage, place.binding(true)?, SystemClock::default().now())?;
    println!(r#"{{"serial":{}}}"#, store.state().serial);
    Ok(())
}

fn serve(asked: &Serve) -> Result<()> {
    // Neither a dump nor a debugger shows a key. The host's root is not stopped by it.
    let undumpable = rustix::process::DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(undumpable).context("forbidding dumps")?;
    let _only_one = asked.place.lock()?;
    let store = Store::open(asked.place.storage(), asked.place.binding(false)?)?;
    let serial = store.state().serial;
    let (sender, touches) = Touches::new();
    listen_for_touches(&asked.place.state, sender)?;
    let mut element = Element::new(store, Box::new(touches), Box::new(SystemClock::default()));
    match (&asked.wire.vpcd, &asked.wire.socket) {
        (Some(address), _) => {
            let mut reader = connect(address)?;
            println!(r#"{{"serial":{serial}}}"#);
            Ok(link::serve(&mut reader, &mut element)?)
        }
        (None, Some(path)) => {
            let listener = door::listen(path).with_context(|| path.display().to_string())?;
            println!(r#"{{"serial":{serial}}}"#);
            let named = Named::new(asked.allow.clone());
            let say = |stranger: &door::Stranger| eprintln!("holdfast-element: {stranger}");
            Ok(door::serve(&listener, &named, &mut element, say)?)
        }
        (None, None) => bail!("neither a reader nor a socket is named"),
    }
}

/// Connects to the reader, which pcscd may only just be opening.
fn connect(address: &str) -> Result<TcpStream> {
    let target = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    let target = target.with_context(|| format!("{address} is no ADDR:PORT"))?;
    let clock = SystemClock::default();
    let until = clock.monotonic() + READER_WITHIN;
    loop {
        match TcpStream::connect(target) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if clock.monotonic() >= until => {
                return Err(error).with_context(|| {
                    format!("no reader at {address}: is pcscd running, with vsmartcard-vpcd?")
                });
            }
            Err(_) => std::thread::sleep(TRY_EVERY),
        }
    }
}

/// Where touches come in.
fn touch_socket(state: &Path) -> PathBuf {
    state.join("touch.sock")
}

/// Each connection is a touch. Only this user reaches the folder.
fn listen_for_touches(state: &Path, sender: Sender<()>) -> Result<()> {
    let path = touch_socket(state);
    let listener = door::listen(&path).with_context(|| path.display().to_string())?;
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            if connection.is_ok() && sender.send(()).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn touch(state: &Path) -> Result<()> {
    UnixStream::connect(touch_socket(state))
        .with_context(|| format!("no element is served in {}", state.display()))?;
    Ok(())
}
