//! The story: a device from power-on to lost and recovered, and what an attacker gets.

mod attacked;
pub(crate) mod clone;
mod cloud;
mod device;
mod everyday;
pub(crate) mod flash;
mod lost;
mod manufacture;
mod owner;
mod release;
mod search;
mod signin;
mod step;
mod trusted;
mod updated;
mod world;

pub(crate) use device::{BoardStatus, Device, Wiring, stage_line};
pub(crate) use everyday::size;
pub(crate) use manufacture::{Enrolling, MADE, Making, make_alone, make_for_trial};
pub(crate) use release::release;
pub(crate) use step::Teller;
pub(crate) use world::Memory;

use crate::args::Up;
use crate::exit::{Exit, Lacking};
use crate::programs;
use crate::report::{Evidence, Reporter};
use crate::sample;
use crate::state::State;
use anyhow::{Context, Result};
use attacked::Attacker;
use cloud::Cloud;
use everyday::Files;
use http_link::Client;
use owner::Person;
use serde_json::json;
use std::path::{Path, PathBuf};
use step::Stopped;
use wire::account::Session;
use world::World;

/// Plays the story and, unless it is to end at once, stays up until a signal.
pub(crate) async fn up(args: Up) -> Result<Exit> {
    let state = match args.fresh {
        true => State::start_over(args.state.dir.as_deref())?,
        false => State::open(args.state.dir.as_deref())?,
    };
    let _lock = state.lock()?;
    let mut memory = Memory::load(&state)?;
    let folder = folder(&args, &state, &mut memory)?;
    let mut teller = Teller::new(Reporter::new(args.json), state.root().to_owned());
    let mut story = Story { memory, args, state, folder };
    tokio::select! {
        told = story.tell(&mut teller) => told,
        error = programs::broken() => {
            teller.broken(error);
            Ok(teller.exit())
        }
        () = interrupted() => {
            teller.reporter.clear();
            teller.reporter.note("\nstopped; the next `up` goes on from here");
            Ok(teller.exit())
        }
    }
}

/// The folder of the story, which must be readable: the one that is named, else the one of the
/// run before, else the sample. On a device that is in use the folder is only looked at, so that
/// one that is gone stops nothing.
fn folder(args: &Up, state: &State, memory: &mut Memory) -> Result<PathBuf> {
    let named = args.folder.as_ref().map(std::path::absolute).transpose()?;
    let Some(folder) = named.clone().or_else(|| memory.folder.clone().map(PathBuf::from)) else {
        return sample(state);
    };
    match std::fs::read_dir(&folder) {
        Ok(_) => {}
        Err(_) if named.is_none() && memory.in_use => return sample(state),
        Err(error) => {
            let folder = folder.display();
            let how = "Give a folder that can be read, with --folder.";
            return Err(Lacking(format!("{folder}: {error}. {how}")).into());
        }
    }
    let named = named.and_then(|it| it.to_str().map(str::to_owned));
    if named.is_some() && named != memory.folder {
        memory.folder = named;
        memory.save(state)?;
    }
    Ok(folder)
}

fn sample(state: &State) -> Result<PathBuf> {
    let folder = state.folder("sample")?;
    sample::make(&folder)?;
    Ok(folder)
}

/// Until Ctrl-C or a request to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

struct Story {
    args: Up,
    state: State,
    folder: PathBuf,
    memory: Memory,
}

impl Story {
    async fn tell(&mut self, teller: &mut Teller) -> Result<Exit> {
        let mut world = match self.first_chapters(teller).await {
            Ok(world) => world,
            Err(Stopped) => return Ok(self.stopped(teller)),
        };
        let held = self.last_chapters(teller, &mut world).await;
        if held.is_err() {
            world.stop().await?;
            return Ok(self.stopped(teller));
        }
        let exit = teller.exit();
        if exit == Exit::Held && !self.memory.in_use {
            self.memory.in_use = true;
            self.memory.save(&self.state)?;
        }
        self.ready(teller, &world);
        if !self.args.once {
            interrupted().await;
            teller.reporter.note("\nstopping");
        }
        world.stop().await?;
        Ok(exit)
    }

    fn stopped(&self, teller: &mut Teller) -> Exit {
        teller.reporter.note(&format!(
            "\nThe story stops here. What stands is in {} for a look; the logs are in log/.",
            self.state.root().display()
        ));
        teller.exit()
    }

    /// Chapter one.
    async fn start_cloud(&self, teller: &mut Teller) -> Result<Cloud, Stopped> {
        teller.reporter.chapter("Cloud");
        let (state, args) = (&self.state, &self.args);
        teller
            .step("cloud.start", async |_| {
                let cloud = Cloud::start(state, args.listen, args.keycenter_listen).await?;
                let [keycenter, server] = cloud.pids();
                let line = format!("{} and a Key Center of its own", cloud.at.url);
                let object = json!({
                    "cloud": { "url": cloud.at.url, "pid": server, "ca": cloud.at.ca },
                    "keycenter": { "url": cloud.keycenter_at.url, "pid": keycenter },
                });
                Ok((cloud, Evidence::new(line, object)))
            })
            .await
    }

    /// Chapters one to three: a cloud, and a device, made where there is none, and on.
    async fn first_chapters(&mut self, teller: &mut Teller) -> Result<World, Stopped> {
        let cloud = self.start_cloud(teller).await?;
        let client = cloud.client();
        let client = teller.quietly(client)?;
        teller.reporter.chapter("Manufacture");
        manufacture::manufacture(teller, &self.state, &cloud, &client, &mut self.memory).await?;
        teller.reporter.chapter("Power on");
        let dir = self.state.path("device");
        let mut wiring = teller.quietly(world::wiring(&cloud, &self.memory))?;
        wiring.phone = Some(self.args.phone_listen.to_string());
        wiring.trusted = Some(self.args.trusted_listen.to_string());
        let log = self.state.path("log/board.log");
        let device = teller.quietly(Device::power_on(&dir, &wiring, log).await)?;
        let status = teller.boot(device.settled()).await?;
        teller.stages(&status)?;
        for weakness in &status.weaknesses {
            teller.reporter.note(&format!("  weaker here: {}: {}", weakness.what, weakness.mend));
        }
        Ok(World { state: self.state.clone(), cloud, client, device })
    }

    /// Chapters four to eleven.
    async fn last_chapters(&self, teller: &mut Teller, world: &mut World) -> Result<(), Stopped> {
        teller.reporter.chapter("Attest");
        let evidence = signin::attest(teller, &world.client, &world.device).await?;
        trusted::clock(teller, &world.device).await?;
        teller.reporter.chapter("Sign in");
        let (owner, session) =
            signin::sign_in(teller, &self.state, &world.cloud, &world.client, &world.device)
                .await?;
        teller.reporter.chapter("Use");
        everyday::unlock(teller, &world.device, &owner).await?;
        trusted::confirm(teller, &world.device).await?;
        let files = match (self.memory.in_use, &self.args.folder) {
            (false, _) => Files::Storys,
            (true, None) => Files::Persons,
            (true, Some(_)) => Files::PersonsAndMore,
        };
        let left_out = everyday::import(teller, &world.device, &self.folder, files).await?;
        everyday::upload(teller, &world.device, files).await?;
        teller.reporter.chapter("Push");
        let developer = teller.quietly(world.cloud.credential("developer"))?;
        everyday::push(teller, &world.client, &developer, &world.device).await?;

        let scratch = tempfile_beside(self.state.root());
        let scratch = teller.quietly(scratch)?;
        let told = Tale { story: self, owner: &owner, left_out: &left_out, scratch: &scratch }
            .lost_attacked_and_updated(teller, world, &session, &evidence)
            .await;
        if told.is_ok() && teller.exit() == Exit::Held {
            teller.reporter.waiting("removing the copies");
            let _ = std::fs::remove_dir_all(&scratch);
            teller.reporter.clear();
        }
        told
    }

    fn ready(&self, teller: &mut Teller, world: &World) {
        let credentials = self.state.path(owner::FILE);
        let screens = &world.device.screens;
        let socket = world.device.dir.join("run/holdfast.sock");
        teller.reporter.object(&json!({
            "ready": {
                "console": world.cloud.at.url,
                "phone": screens.phone_screen,
                "trusted_screen": screens.trusted_screen,
                "keycenter": world.cloud.keycenter_at.url,
                "ca": world.cloud.at.ca,
                "credentials": credentials,
                "socket": socket,
                "board_pid": world.device.pid(),
            }
        }));
        teller.reporter.chapter("Ready");
        for (what, where_) in [
            ("the phone's screen", screens.phone_screen.clone()),
            ("the cloud's console", world.cloud.at.url.clone()),
            ("the owner's credentials", credentials.display().to_string()),
            ("the console's CA", world.cloud.at.ca.display().to_string()),
            ("the device's socket", socket.display().to_string()),
        ] {
            teller.reporter.note(&format!("  {what:<24} {where_}"));
        }
        if !self.args.once {
            teller.reporter.note("\nCtrl-C stops everything; the next `up` goes on.");
        }
    }
}

/// The last four chapters.
struct Tale<'a> {
    story: &'a Story,
    owner: &'a Person,
    /// What the import could not take, reported then.
    left_out: &'a [Vec<u8>],
    scratch: &'a Path,
}

impl Tale<'_> {
    /// Lost, Recovered, Attacked and Updated: the first two on the device itself while nobody uses
    /// it, else on a copy; the others always on copies.
    async fn lost_attacked_and_updated(
        &self,
        teller: &mut Teller,
        world: &mut World,
        session: &Session,
        evidence: &wire::attest::Evidence,
    ) -> Result<(), Stopped> {
        if self.story.memory.in_use {
            let copy = self.copy(teller, world, "in-use").await?;
            let started = World::start_copy(&copy, &self.story.memory).await;
            let copied = teller.quietly(started)?;
            let played = self.lost(teller, &copied, None).await;
            let _ = copied.stop().await;
            played?;
        } else {
            self.lost(teller, world, Some(session)).await?;
        }
        teller.reporter.chapter("Attacked");
        let copies = self.copy(teller, world, "attacked").await?;
        let attacker = Attacker {
            copies: &copies,
            cloud: &world.client,
            stores: &world.state,
            folder: &self.story.folder,
            owner: self.owner,
            memory: &self.story.memory,
            evidence,
        };
        attacked::attacked(teller, &attacker).await;
        // Every attack put back what it changed.
        teller.reporter.chapter("Updated");
        let copied = teller.quietly(World::start_copy(&copies, &self.story.memory).await)?;
        let played = updated::updated(teller, &copied, &world.state).await;
        let _ = copied.stop().await;
        played
    }

    async fn lost(
        &self,
        teller: &mut Teller,
        world: &World,
        session: Option<&Session>,
    ) -> Result<(), Stopped> {
        teller.reporter.chapter("Lost");
        let fresh;
        let session = match session {
            Some(session) => session,
            None => {
                fresh = teller.quietly(signin::session(&world.client, self.owner).await)?;
                &fresh
            }
        };
        let (client, device) = (&world.client, &world.device);
        let folder = (self.story.folder.as_path(), self.left_out);
        let due = self.due(device, folder).await;
        let due = lost::Due { folder, differences: teller.quietly(due)? };
        lost::lost(teller, client, device, session, (self.scratch, &self.owner.pin)).await?;
        teller.reporter.chapter("Recovered");
        lost::recovered(teller, &world.client, &world.device, self.owner, &due).await
    }

    /// How the device differs from the folder before it is lost: not at all, but for somebody's
    /// own files on a device that is in use.
    async fn due(
        &self,
        device: &Device,
        (folder, left_out): (&Path, &[Vec<u8>]),
    ) -> Result<Vec<String>> {
        if !self.story.memory.in_use {
            return Ok(Vec::new());
        }
        everyday::open(device, self.owner).await?;
        everyday::compare(device, folder, left_out).await
    }

    /// Copies everything. The cloud stops for the moment that the copy takes, so that the copy
    /// of its database is whole.
    async fn copy(
        &self,
        teller: &mut Teller,
        world: &mut World,
        name: &str,
    ) -> Result<State, Stopped> {
        teller.reporter.waiting("copying the device and the cloud");
        let copied = self.copy_state(world, name).await;
        teller.reporter.clear();
        teller.quietly(copied)
    }

    async fn copy_state(&self, world: &mut World, name: &str) -> Result<State> {
        let to = State::open(Some(&self.scratch.join(name)))?;
        world.cloud.pause().await?;
        let copied = World::copy(&world.state, &to);
        if copied.is_err() {
            // Half a copy is of no use, and its room may be what is lacking.
            let _ = std::fs::remove_dir_all(to.root());
        }
        world.cloud.resume().await.context("the cloud did not start again after the copy")?;
        world.client = Client::clone(&world.cloud.client()?);
        copied?;
        Ok(to)
    }
}

/// A new folder in the state folder for copies; old ones are deleted first.
fn tempfile_beside(root: &Path) -> Result<PathBuf> {
    let path = root.join("copies");
    if path.exists() {
        std::fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
    }
    std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}
