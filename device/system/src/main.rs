//! The program that `init` starts: descriptors in, the daemon, an exit code out.

use board::flash::Flash;
use board::power::PowerRequest;
use board::report::{BootArgs, Record, Slot};
use board::verdict::{Check, Refusal};
use board::{exec, fds};
use device_link::session::{Cloud, ServerTime};
use device_system::config::Config;
use device_system::daemon::{self, Sockets};
use device_system::device::{BootError, Device, Ending, Folders, Parts};
use device_system::images::FlashImages;
use device_system::installer;
use device_system::modem::Modem;
use device_system::tee::TeeSocket;
use device_system::userdata::Partition;
use effects::{SystemClock, SystemEntropy};
use http_link::{Client, Connector};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Threads for work that blocks: the TEE, files. A prompt holds one for minutes.
const BLOCKING_THREADS: usize = 8;
/// How long an idle one stays.
const IDLE: std::time::Duration = std::time::Duration::from_secs(5);

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the system did not start");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn Error>> {
    let config = Config::from_process()?;
    let power = exec::inherited(fds::POWER)?;
    let log = File::from(exec::inherited(fds::LOG)?);
    let watched = power.try_clone()?;
    let thread = std::thread::Builder::new().name("power".into()).stack_size(64 * 1024);
    thread.spawn(move || end_with_power(&watched))?;
    keep_files(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(IDLE)
        .build()?;
    runtime.block_on(serve(&config, &log, &power))
}

/// The TEE's files lie here, from before anything asks the TEE.
fn keep_files(config: &Config) -> io::Result<()> {
    let (tee, folder) = (config.run.join("tee.sock"), config.data.join("tee"));
    let thread = std::thread::Builder::new().name("files".into()).stack_size(256 * 1024);
    thread.spawn(move || {
        if let Err(error) = tee_client::keeper::keep(&tee, &folder) {
            tracing::error!(%error, "the TEE's files can't be kept in {}", folder.display());
        }
    })?;
    Ok(())
}

async fn serve(config: &Config, log: &File, power: &OwnedFd) -> Result<(), Box<dyn Error>> {
    let flash = Flash::open(File::from(exec::inherited(fds::FLASH)?))?;
    let check = Check::start("userdata", "userdata");
    let device = match assemble(config, &flash) {
        Ok(device) => device,
        Err(refused) => {
            let Some(BootError::Userdata(error)) = refused.downcast_ref::<BootError>() else {
                return Err(refused);
            };
            tracing::error!(%error, "the boot stops here");
            let refusal = Refusal::new("ERROR_VERIFICATION", error.to_string());
            tell(log, &Record::Stage(check.finish(Err(&refusal))));
            wait_for_power_loss(power);
            return Ok(());
        }
    };
    device.load_applications();
    let sockets = Sockets::bind(&config.run)?;
    let ready = || {
        tell(log, &Record::Ready);
        if let Err(error) = prove_itself(&device, &flash, &config.boot) {
            tracing::warn!(%error, "the slot was not marked successful");
        }
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    };
    match daemon::run(device.clone(), sockets, ready, stop).await {
        // `init` passes it on to the power chip.
        Some(Ending::Restarts) => std::process::exit(PowerRequest::Restart.exit_code()),
        _ => Ok(()),
    }
}

/// Puts the device together from what `init` left.
fn assemble(config: &Config, flash: &Flash) -> Result<Arc<Device>, Box<dyn Error>> {
    let clock = Arc::new(SystemClock::default());
    let radio = config.run.join("radio.sock");
    let mut channel = "stable".to_owned();
    let cloud = match config.cloud()? {
        Some(address) => {
            channel = address.channel;
            let way = Connector::Proxy(radio.clone());
            let client = Client::new(&address.url, address.ca_pem.as_bytes(), way)?;
            Some(Cloud::new(client, Arc::new(ServerTime::new(clock.clone()))))
        }
        None => None,
    };
    let place = flash.partition("userdata")?;
    let bytes = usize::try_from(place.size_bytes())?;
    let partition = Partition::new(flash.file().try_clone()?, place.offset_bytes(), bytes);
    let folders = Folders { data: config.data.clone() };
    let slots = (Flash::open(flash.file().try_clone()?)?, config.boot.slot);
    let update = installer::assemble(&config.system, &channel, slots, folders.update());
    Ok(Device::start(Parts {
        tee: Arc::new(TeeSocket::connect(&config.run.join("tee.sock"))?),
        clock,
        entropy: Arc::new(SystemEntropy),
        cloud,
        modem: Modem::new(&radio),
        way: Connector::Proxy(radio),
        partition,
        folders,
        boot_no: config.boot.boot_no,
        boot_key: config.boot_key.clone(),
        corrupt: config.corrupt,
        images: Arc::new(FlashImages {
            flash: Flash::open(flash.file().try_clone()?)?,
            slot: config.boot.slot,
        }),
        update,
    })?)
}

/// The system answers: its slot is a good one, and nothing older may boot from here on.
fn prove_itself(device: &Device, flash: &Flash, boot: &BootArgs) -> Result<(), Box<dyn Error>> {
    let mut slots = flash.slots()?;
    let before = slots;
    let slot = match boot.slot {
        Slot::A => bootimg::misc::Slot::A,
        Slot::B => bootimg::misc::Slot::B,
    };
    if !slots.mark_successful(slot) {
        return Err("the slot that runs is marked unbootable".into());
    }
    if slots != before {
        flash.put_slots(&slots)?;
    }
    device.boot_succeeded()?;
    Ok(device.update_proved()?)
}

/// One line in the boot log. Nobody reading is no reason to stop.
fn tell(mut log: &File, record: &Record) {
    if let Ok(mut line) = serde_json::to_vec(record) {
        line.push(b'\n');
        let _ = log.write_all(&line);
    }
}

fn end_with_power(power: &OwnedFd) {
    wait_for_power_loss(power);
    std::process::exit(0)
}

/// The board closed its end of the pipe, or died.
fn wait_for_power_loss(power: &OwnedFd) {
    loop {
        let mut watched = [PollFd::new(power, PollFlags::empty())];
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) if watched[0].revents().is_empty() => {}
            _ => return,
        }
    }
}
