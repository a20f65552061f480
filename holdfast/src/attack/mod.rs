//! `holdfast attack tee`: attacks on the trusted side, each really done, to a copy of the device.
//!
//! `ok` means that the attack was made and refused, that a call to the TEE was answered in time
//! afterwards, that no process of the TEE was restarted by it, and, where the attack reached the
//! TEE's door, that the TEE's own log has it. An attack that could not be made is not ok: its
//! reason says what this machine lacks, and the exit code is 3.

mod files;
mod foreign;
mod machine;
mod visit;

use crate::args::AttackTee;
use crate::exit::{Exit, Lacking};
use crate::report::Reporter;
use crate::state::State;
use crate::story::{self, Device, Teller, Wiring, clone};
use anyhow::{Context, Result};
use factory::Backend;
use std::os::unix::net::UnixStream;
use std::path::Path;
use visit::{ATTACKS, Visit};

/// `holdfast attack tee`.
pub(crate) async fn tee(args: AttackTee) -> Result<Exit> {
    let place = tempfile::Builder::new().prefix("holdfast-attack-").tempdir()?;
    let copies = State::open(Some(place.path()))?;
    copies.folder("log")?;
    let mut teller = Teller::new(Reporter::new(args.json), copies.root().to_owned());
    match given(&args)? {
        Some(state) => {
            let from = state.path("device");
            teller.reporter.note(&format!("attacking a copy of {}", from.display()));
            clone::device(&from, &copies.path("device"))?;
        }
        None => {
            teller.reporter.note("attacking a new device");
            teller.reporter.waiting("making a device");
            story::make_for_trial(&copies).await?;
        }
    }
    suite(&mut teller, &copies, args.seed).await;
    Ok(teller.exit())
}

/// The state folder whose device is to be attacked; `None`: a new one.
fn given(args: &AttackTee) -> Result<Option<State>> {
    if args.fresh {
        return Ok(None);
    }
    let named = args.state.dir.is_some();
    let state = match State::open_existing(args.state.dir.as_deref()) {
        Ok(state) if state.path(story::MADE).is_file() => state,
        Ok(_) | Err(_) if !named => return Ok(None),
        Ok(state) => {
            let folder = state.root().display();
            let how = "`holdfast device make` makes one, --fresh attacks a new one";
            return Err(Lacking(format!("there is no device in {folder}; {how}")).into());
        }
        Err(error) => return Err(error),
    };
    if UnixStream::connect(state.path("device/board.sock")).is_ok() {
        let how = "switch it off first, so that a copy of it is whole, or give --fresh";
        return Err(
            Lacking(format!("the device in {} is on: {how}", state.root().display())).into()
        );
    }
    if Backend::of(&state.path("device/board"))? != Backend::Emulated {
        let how = "its TPM can't be copied, and an attack on it would stay: give --fresh";
        return Err(Lacking(format!("the device in {}: {how}", state.root().display())).into());
    }
    Ok(Some(state))
}

/// The whole suite, on the device in `copies`, which is off and nobody's.
pub(crate) async fn suite(teller: &mut Teller, copies: &State, seed: u64) {
    teller.reporter.chapter("Root of the normal world");
    while_on(teller, copies, async |teller, device| {
        inside(teller, device, seed).await;
        foreign::attacks(teller, device).await;
    })
    .await;
    teller.reporter.chapter("The machine under it");
    while_on(teller, copies, machine::attacks).await;
    teller.reporter.chapter("The normal world's files");
    files::attacks(teller, copies).await;
}

/// Every attack of root inside the normal world.
async fn inside(teller: &mut Teller, device: &Device, seed: u64) {
    let visit = Visit::prepare(device).await.map_err(|error| format!("{error:#}"));
    for attack in ATTACKS {
        let play = async |_: &mut Reporter| match &visit {
            Ok(visit) => visit.attack(attack, seed).await,
            Err(reason) => Err(anyhow::Error::msg(reason.clone())),
        };
        teller.attack(&format!("tee.{}", attack.name), play).await;
    }
}

/// Powers the copy on, plays, and powers it off.
async fn while_on(
    teller: &mut Teller,
    copies: &State,
    play: impl AsyncFnOnce(&mut Teller, &Device),
) {
    teller.reporter.waiting("booting the copy");
    let booted = boot(copies).await;
    match booted {
        Ok(device) => {
            play(teller, &device).await;
            let off = device.power_off().await;
            let _ = teller.quietly(off);
        }
        Err(error) => teller.broken(error),
    }
}

async fn boot(copies: &State) -> Result<Device> {
    let dir = copies.path("device");
    let log = copies.path("log/attacked.log");
    Device::boot(&dir, &Wiring::default(), log.clone())
        .await
        .with_context(|| format!("the copy does not boot; {} says more", shown(&log)))
}

/// The last lines of a log: its folder goes with this program.
fn shown(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
