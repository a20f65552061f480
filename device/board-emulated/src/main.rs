//! `holdfast-board`: the emulated board in the foreground.

use anyhow::{Context, Result, bail};
use board::modem::ModemArgs;
use board::secure::BL1_COUNTER;
use board_emulated::backend::Powered;
use board_emulated::control::{self, Controls};
use board_emulated::device::{self, Button, Parts, Power};
use board_emulated::fuses::make_private_folder;
use board_emulated::phone_screen;
use board_emulated::places::Places;
use board_emulated::radio::{Radio, parse_route};
use board_emulated::rom;
use board_emulated::screen::Screen;
use board_emulated::sockets::listen_at;
use board_emulated::status::Board;
use board_emulated::trusted_screen;
use board_emulated::wiping::Wiping;
use clap::Parser;
use effects::{SystemClock, SystemEntropy};
use rustix::fs::{FlockOperation, flock};
use rustix::net::SocketType;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

/// A PIN passes through this process.
#[global_allocator]
static MEMORY: Wiping = Wiping;

/// The environment lacks something: a port, a board, a right.
const ENVIRONMENT: u8 = 3;
const CONTROL_SOCKET: &str = "board.sock";

/// The emulated board of one device. Powers it on at once, and off when it is told to end.
#[derive(Parser)]
#[command(name = "holdfast-board", version)]
struct Arguments {
    /// Folder of the device: fuses, flash image, user data, sockets.
    #[arg(long, env = "HOLDFAST_DEVICE", value_name = "FOLDER")]
    state: PathBuf,
    /// Loopback address of the trusted screen; port 0 = any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    trusted_screen: SocketAddr,
    /// Loopback address of the phone's screen; port 0 = any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    phone_screen: SocketAddr,
    /// A host that the device may reach, and the address behind its name. May be repeated.
    #[arg(long = "radio", value_parser = parse_route, value_name = "NAME:PORT=ADDRESS:PORT")]
    routes: Vec<(String, SocketAddr)>,
    /// Leaves the device off until it is told to power on.
    #[arg(long)]
    off: bool,
    /// Seconds that a slot on trial has to prove itself; then the watchdog resets the device, and
    /// the slot has one try fewer.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    trial: u64,
    /// Blows the fuse that revokes the maker's root key in this slot (1 or 2), for good, and
    /// ends. The device is off, and its flash is signed with another key that counts.
    #[arg(long, value_name = "SLOT")]
    revoke_key: Option<usize>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(slot) = arguments.revoke_key {
        return match revoke(&Places::new(arguments.state), slot) {
            Ok(()) => {
                println!("root key {slot} is revoked for good");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("holdfast-board: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-board: {error:#}");
            ExitCode::from(ENVIRONMENT)
        }
    }
}

async fn serve(arguments: Arguments) -> Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Neither a dump nor a debugger shows the HUK. The host's root is not stopped by it.
    let undumpable = rustix::process::DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(undumpable).context("forbidding dumps")?;
    let places = Places::new(arguments.state.clone());
    let _only_one = lock(&places)?;
    let (trusted, phone) =
        (loopback(arguments.trusted_screen).await?, loopback(arguments.phone_screen).await?);
    let (trusted_at, phone_at) = (trusted.local_addr()?, phone.local_addr()?);

    let (screen, board) = (Arc::new(Screen::default()), Arc::new(Board::default()));
    let receiver = Arc::default();
    let routes = ModemArgs { routes: arguments.routes.into_iter().collect() };
    let power = device::start(Parts {
        places: places.clone(),
        screen: screen.clone(),
        board: board.clone(),
        radio: Radio { routes, receiver: Arc::clone(&receiver) },
        clock: Arc::new(SystemClock::default()),
        entropy: Arc::new(SystemEntropy),
        trial: Duration::from_secs(arguments.trial),
    })?;
    let controls =
        Controls { power: power.clone(), board: board.clone(), screen: screen.clone(), receiver };
    let control = control_socket(&places)?;
    tell_trusted_screen(&places, trusted_at)?;
    let page = trusted_screen::routes(screen, board.clone(), trusted_at);
    tokio::spawn(async { axum::serve(control, control::routes(controls)).await });
    tokio::spawn(async { axum::serve(trusted, page).await });
    tokio::spawn(phone_screen::relay(phone, places.run(), board));
    println!(r#"{{"trusted_screen":"http://{trusted_at}","phone_screen":"http://{phone_at}"}}"#);
    run(&power, arguments.off).await
}

/// Revokes a root key, unless nothing that is on the flash would boot after it.
fn revoke(places: &Places, slot: usize) -> Result<()> {
    let _only_one = lock(places)?;
    let clock = Arc::new(SystemClock::default());
    let board = Powered::up(&places.board(), clock, Arc::new(SystemEntropy))?;
    let left = board.root_key_hashes_without(slot)?;
    let lowest_index = board.silicon().counter(BL1_COUNTER)?;
    let flash = File::open(places.flash()).with_context(|| places.flash().display().to_string())?;
    rom::would_boot(&flash, &left, lowest_index)
        .context("this flash would not boot any more; flash one that another key signed first")?;
    Ok(board.revoke_root_key(slot)?)
}

/// Powers the device on, waits for the word to end, powers it off.
async fn run(power: &Power, stays_off: bool) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if !stays_off {
        power.press(Button::On).await;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    power.press(Button::Off).await;
    Ok(())
}

/// Holds the board's folder: two boards over one set of fuses would each believe their own.
fn lock(places: &Places) -> Result<File> {
    let folder = places.board();
    if !folder.is_dir() {
        bail!(
            "{}: there is no board here; make one first (holdfast device make)",
            places.state().display()
        );
    }
    make_private_folder(&folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).with_context(|| {
        format!("{}: another holdfast-board runs this device; stop it first", folder.display())
    })?;
    Ok(file)
}

/// Tells the system where the trusted screen is, so that the phone's screen can send the person
/// there. What the system makes of it is no secret and no privilege.
fn tell_trusted_screen(places: &Places, at: SocketAddr) -> Result<()> {
    let path = places.run().join("trusted-screen.url");
    let told = std::fs::create_dir_all(places.run()).and_then(|()| {
        effects::durable::replace(&path, format!("http://{at}\n").as_bytes(), 0o600)
    });
    told.with_context(|| path.display().to_string())
}

async fn loopback(address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!("{address}: the board's screens are for this machine only; give a loopback address");
    }
    TcpListener::bind(address).await.with_context(|| {
        format!("{address} can't be listened at; give another port, or 0 for any free one")
    })
}

fn control_socket(places: &Places) -> Result<UnixListener> {
    let failed = || places.state().join(CONTROL_SOCKET).display().to_string();
    let socket = listen_at(places.state(), CONTROL_SOCKET, SocketType::STREAM);
    let socket = std::os::unix::net::UnixListener::from(socket.with_context(failed)?);
    socket.set_nonblocking(true).with_context(failed)?;
    UnixListener::from_std(socket).with_context(failed)
}
