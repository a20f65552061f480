//! The modem's firmware: relays the device's connections to the network.

use baseband::{relay, sandbox};
use board::modem::{LISTENER, ModemArgs, RECEIVER};
use board::power::wait_for_loss;
use board::report::Record;
use board::{argument, exec, fds};
use rustix::fd::OwnedFd;
use std::error::Error;
use std::os::unix::net::UnixListener;
use std::process::{ExitCode, exit};
use std::thread;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("baseband: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let _ = rustix::thread::set_name(c"baseband");
    let first = std::env::args().nth(1).ok_or("the board starts the modem's firmware")?;
    let routes: ModemArgs = argument::decode(&first)?;
    let listener = UnixListener::from(exec::inherited(LISTENER)?);
    let receiver = exec::inherited(RECEIVER)?;
    let log = exec::inherited(fds::LOG)?;
    let power = exec::inherited(fds::POWER)?;
    if let Some(mend) = sandbox::enter()? {
        let what = "the modem's firmware is not fully confined".to_owned();
        tell(&log, &Record::Weakness { what, mend });
    }
    drop(log);
    thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        wait_for_loss(&power);
        exit(0);
    })?;
    Ok(relay::serve(&listener, routes, receiver)?)
}

fn tell(log: &OwnedFd, record: &Record) {
    if let Ok(mut line) = serde_json::to_vec(record) {
        line.push(b'\n');
        let _ = rustix::io::write(log, &line);
    }
}
