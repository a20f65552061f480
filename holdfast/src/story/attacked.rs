//! Chapter ten: each attack is really done, to copies, and must be refused.

use super::device::{BoardStatus, Device, Wiring};
use super::lost::{Owner, end_lost_mode};
use super::owner::{Person, password};
use super::search::{self, Canary};
use super::signin::{lock_of, session};
use super::step::Teller;
use super::world::{Memory, World};
use super::{clone, manufacture};
use crate::programs::beside;
use crate::report::Reporter;
use crate::state::State;
use anyhow::{Context, Result, bail, ensure};
use boot::probe::{Attempt, Targets};
use http_link::{Client, Error as HttpError};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::account::{Forgot, Reset};
use wire::attest::Evidence as Chain;
use wire::find::Command;

/// Partitions that a boot uses, without their slot's suffix.
const PARTITIONS: [&str; 9] =
    ["bl1", "tee", "bl2", "boot", "vbmeta", "system", "baseband", "misc", "userdata"];

/// What the attacker works on.
pub(crate) struct Attacker<'a> {
    /// Copies of this run's state; nothing in it runs.
    pub(crate) copies: &'a State,
    /// The running cloud (asked, never changed).
    pub(crate) cloud: &'a Client,
    /// Where it stores what it stores.
    pub(crate) stores: &'a State,
    pub(crate) folder: &'a Path,
    pub(crate) owner: &'a Person,
    pub(crate) memory: &'a Memory,
    /// Evidence that the cloud accepted once.
    pub(crate) evidence: &'a Chain,
}

/// Chapter ten.
pub(crate) async fn attacked(teller: &mut Teller, attacker: &Attacker<'_>) {
    flips(teller, attacker).await;
    images(teller, attacker).await;
    teller.attack("replay_attestation", async |_| attacker.replay().await).await;
    inside(teller, attacker).await;
    teller.attack("cloud_plaintext", async |_| attacker.search_cloud()).await;
    teller.attack("reset_password_in_lost_mode", async |_| attacker.reset_password().await).await;
}

/// One flipped bit in each partition.
async fn flips(teller: &mut Teller, attacker: &Attacker<'_>) {
    for name in PARTITIONS {
        teller.attack(&format!("flip.{name}"), async |_| attacker.flip(name).await).await;
    }
}

/// Whole images and boards.
async fn images(teller: &mut Teller, attacker: &Attacker<'_>) {
    teller.attack("rollback", async |_| attacker.older_image().await).await;
    teller.attack("foreign_vbmeta", async |_| attacker.foreign_vbmeta().await).await;
    teller.attack("foreign_board", async |_| attacker.foreign_board().await).await;
}

/// Root inside the system's namespaces, on a copy that runs.
async fn inside(teller: &mut Teller, attacker: &Attacker<'_>) {
    let log = attacker.copies.path("log/probed.log");
    let booted = Device::boot(&attacker.device(), &Wiring::default(), log).await;
    let visited = match &booted {
        Ok(device) => Visit::prepare(device).await,
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let visited = visited.map_err(|error| format!("{error:#}"));
    for target in ["tee_memory", "fuses", "rpmb"] {
        let attack = async |_: &mut Reporter| match &visited {
            Ok(visit) => visit.attack(target).await,
            Err(reason) => Err(anyhow::Error::msg(reason.clone())),
        };
        teller.attack(target, attack).await;
    }
    if let Ok(device) = booted {
        let off = device.power_off().await;
        let _ = teller.quietly(off);
    }
}

/// What a program inside the system's namespaces goes for.
struct Visit {
    ree_pid: i32,
    board: PathBuf,
    secret_pids: Vec<i32>,
    trusted_port: u16,
}

impl Visit {
    async fn prepare(device: &Device) -> Result<Self> {
        let status = device.status().await?;
        // Swap is for whoever holds the disk, not for a process of the system.
        let isolation = status.weaknesses.iter().filter(|it| it.what != "TEE: swap");
        let weak: Vec<String> = isolation.map(|it| format!("{}: {}", it.what, it.mend)).collect();
        ensure!(weak.is_empty(), "this host isolates too little. {}", weak.join(" "));
        let secret_pids: Vec<i32> = status
            .processes
            .iter()
            .filter(|it| it.name.starts_with("tee") || it.name.starts_with("ta-"))
            .map(|it| it.pid)
            .chain(device.pid().and_then(|pid| i32::try_from(pid).ok()))
            .collect();
        ensure!(secret_pids.len() > 1, "the board does not know the TEE's processes");
        let port = device.screens.trusted_screen.trim_end_matches('/').rsplit(':').next();
        Ok(Self {
            ree_pid: status.ree_pid.context("the board does not know its system's process")?,
            board: device.dir.join("board"),
            secret_pids,
            trusted_port: port.and_then(|it| it.parse().ok()).context("no trusted screen")?,
        })
    }

    /// Tries everything on one target; what went through is an error.
    async fn attack(&self, target: &str) -> Result<(String, Value)> {
        let targets = match target {
            "tee_memory" => Targets::on_this_host(&[], &self.secret_pids, &[self.trusted_port]),
            "fuses" => Targets::on_this_host(&[self.board.join("fuses.cbor")], &[], &[]),
            _ => Targets::on_this_host(&[self.board.join("rpmb.bin")], &[], &[]),
        }?;
        let program = beside("holdfast-probe")?;
        let (ree_pid, targets) = (self.ree_pid, serde_json::to_string(&targets)?);
        let visit = move || boot::world::enter(ree_pid, &program, &[&targets]);
        let said = tokio::task::spawn_blocking(visit).await??;
        let attempts: Vec<Attempt> =
            serde_json::from_str(&said).context("the probe's report is not understood")?;
        ensure!(!attempts.is_empty(), "the probe tried nothing");
        let reached: Vec<String> = attempts
            .iter()
            .filter(|attempt| attempt.succeeded)
            .map(|attempt| format!("{} ({}): {}", attempt.attempt, attempt.target, attempt.detail))
            .collect();
        ensure!(reached.is_empty(), "went through: {}", reached.join("; "));
        let ways: std::collections::BTreeSet<_> = attempts.iter().map(|it| &it.attempt).collect();
        let reason =
            format!("{} attempts of {} kinds, none went through", attempts.len(), ways.len());
        Ok((reason, json!({ "attempts": attempts.len(), "ways": ways })))
    }
}

impl Attacker<'_> {
    fn device(&self) -> PathBuf {
        self.copies.path("device")
    }

    /// Boots the copied board as it now is and gives what came of it.
    async fn boot(&self, dir: &Path) -> Result<BoardStatus> {
        let log = self.copies.path("log/attacked.log");
        let device = Device::power_on(dir, &Wiring::default(), log).await?;
        let status = device.settled().await;
        device.power_off().await?;
        status
    }

    async fn refused(&self, dir: &Path) -> Result<(String, Value)> {
        let status = self.boot(dir).await?;
        let refused = status.refused.context("it booted")?;
        let evidence = json!({
            "stage": refused.stage,
            "code": refused.code,
            "stages_before": status.stages.len().saturating_sub(1),
        });
        Ok((refused.line(), evidence))
    }

    /// Flips a random bit of the partition, boots, and puts it right again.
    async fn flip(&self, name: &str) -> Result<(String, Value)> {
        let image = self.device().join("flash.img");
        let flash = File::options().read(true).write(true).open(&image)?;
        let (partition, start, length) = super::flash::partition(&flash, name)?;
        let random = u64::from_be_bytes(crypto::random_array());
        let (at, bit) = (random / 8 % length, random % 8);
        let mut byte = [0];
        flash.read_exact_at(&mut byte, start + at)?;
        flash.write_all_at(&[byte[0] ^ (1 << bit)], start + at)?;
        let refused = self.refused(&self.device()).await;
        flash.write_all_at(&byte, start + at)?;
        let (reason, mut evidence) =
            refused.with_context(|| format!("{partition}, byte {at}, bit {bit}"))?;
        evidence["partition"] = json!(partition);
        evidence["byte"] = json!(at);
        evidence["bit"] = json!(bit);
        Ok((reason, evidence))
    }

    /// Puts whole partitions of another image into the copy's flash, boots, and puts them back.
    async fn transplant(&self, image: &Path, names: &[&str]) -> Result<(String, Value)> {
        let own = self.device().join("flash.img");
        let spare = self.copies.path("device/flash.spare");
        clone::copy_file(&own, &spare)?;
        let flash = File::options().read(true).write(true).open(&own)?;
        super::flash::transplant(&File::open(image)?, &flash, names)?;
        let refused = self.refused(&self.device()).await;
        std::fs::rename(&spare, &own)?;
        refused
    }

    /// An older image, signed by the very maker.
    async fn older_image(&self) -> Result<(String, Value)> {
        let image = self.copies.path("older.img");
        manufacture::older_image(self.stores, &image)?;
        self.transplant(&image, &super::flash::SLOTTED).await
    }

    /// vbmeta of another maker, newer than ours, with the partitions that it describes.
    async fn foreign_vbmeta(&self) -> Result<(String, Value)> {
        let image = self.copies.path("foreign.img");
        manufacture::foreign_image(&image)?;
        self.transplant(&image, &["vbmeta", "boot", "system", "baseband"]).await
    }

    /// This flash in another board of the same maker.
    async fn foreign_board(&self) -> Result<(String, Value)> {
        let other = self.copies.folder("other-board")?;
        clone::doomed_device(&self.device(), &other)?;
        std::fs::remove_dir_all(other.join("board"))?;
        manufacture::other_board(self.stores, &other.join("board"))?;
        self.refused(&other).await
    }

    /// Replays the evidence that the cloud accepted in chapter four.
    async fn replay(&self) -> Result<(String, Value)> {
        match self.cloud.post("/v1/attest").json(self.evidence).send().await {
            Ok(_) => bail!("the same evidence was accepted twice"),
            Err(HttpError::Refused(refusal)) => {
                Ok((refusal.reason.clone(), json!({ "error": refusal.error })))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks for the folder's content and the owner's phone number in what the cloud stores.
    fn search_cloud(&self) -> Result<(String, Value)> {
        let mut canaries = search::canaries(self.folder);
        canaries.push(Canary::text("the account's phone number", &self.owner.phone[1..]));
        canaries.push(Canary::text("the account's e-mail", &self.owner.email));
        self.control(&canaries)?;
        let roots = stores(self.stores)?;
        let clean = search::search(&roots, &canaries)?;
        let reason = format!(
            "{} canaries, none readable in {} files ({})",
            canaries.len(),
            clean.files,
            super::everyday::size(clean.bytes)
        );
        let evidence = json!({
            "canaries": canaries.iter().map(|it| &it.what).collect::<Vec<_>>(),
            "files": clean.files,
            "bytes": clean.bytes,
        });
        Ok((reason, evidence))
    }

    /// The search must be able to find: each canary where it is known to be.
    fn control(&self, canaries: &[Canary]) -> Result<()> {
        let owner = self.stores.path(super::owner::FILE);
        for canary in canaries {
            let at = canary.from.clone().unwrap_or_else(|| owner.clone());
            let found = search::search(&[at], std::slice::from_ref(canary)).is_err();
            ensure!(found, "the search does not even find {} where it is", canary.what);
        }
        Ok(())
    }

    /// Sets lost mode on the copies, resets the account's password as a thief with the owner's
    /// mailbox would, and tries it; then the old password, which must work.
    async fn reset_password(&self) -> Result<(String, Value)> {
        let world = World::start_copy(self.copies, self.memory).await?;
        let tried = reset_in(&world, self.owner).await;
        world.stop().await?;
        tried
    }
}

/// The cloud's database and block store, and the Key Center's.
fn stores(state: &State) -> Result<Vec<PathBuf>> {
    let mut stores = vec![state.path("cloud/blocks"), state.path("log")];
    for folder in ["cloud", "keycenter"] {
        for entry in std::fs::read_dir(state.path(folder))? {
            let path = entry?.path();
            if path.is_file() {
                stores.push(path);
            }
        }
    }
    Ok(stores)
}

async fn reset_in(world: &World, owner: &Person) -> Result<(String, Value)> {
    let session = session(&world.client, owner).await?;
    let up = |status: &Value| status["cloud_connected"] == true;
    let status = world.device.until("its link to the cloud is up", up).await?;
    let device_id = status["device_id"].as_str().context("the device is not bound")?.to_owned();
    world.device.api().post("/v1/find/enable").json(&json!({ "enabled": true })).send().await?;
    let console = Owner { cloud: &world.client, token: session.token, device_id };
    console.command(&Command::Lost { message: "Lost.".to_owned() }).await?;

    let forgot = Forgot { login: owner.email.clone() };
    world.client.post("/v1/password/forgot").json(&forgot).send().await?;
    let code = code_from_outbox(&world.state.path("cloud/outbox")).await?;
    let thief = Person { password: password(), ..owner.clone() };
    let reset = Reset { login: owner.email.clone(), code, new_password: thief.password.clone() };
    world.client.post("/v1/password/reset").json(&reset).send().await?;

    let reason = match end_lost_mode(&world.device, &thief).await {
        Ok(()) => bail!("the reset password ended lost mode"),
        Err(HttpError::Refused(refusal)) => refusal.reason,
        Err(error) => return Err(error.into()),
    };
    ensure!(lock_of(&world.device).await?.lost.is_some(), "refused, yet lost mode is over");
    end_lost_mode(&world.device, owner).await.context("the old password was refused too")?;
    ensure!(lock_of(&world.device).await?.lost.is_none(), "the old password did not end lost mode");
    Ok((reason, json!({ "old_password": "ended lost mode" })))
}

/// The newest six-digit code among the messages to people.
async fn code_from_outbox(outbox: &Path) -> Result<String> {
    for _ in 0..100 {
        let mut messages: Vec<_> = std::fs::read_dir(outbox)?.flatten().collect();
        messages.sort_by_key(|entry| entry.metadata().and_then(|it| it.modified()).ok());
        for message in messages.iter().rev() {
            let text = std::fs::read_to_string(message.path()).unwrap_or_default();
            // The head has random numbers of its own.
            let body = text.replace("\r\n", "\n").split_once("\n\n").map(|it| it.1.to_owned());
            let code = body
                .unwrap_or_default()
                .split(|c: char| !c.is_ascii_digit())
                .find(|word| word.len() == 6)
                .map(str::to_owned);
            if let Some(code) = code {
                return Ok(code);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("no message with a code came to {}", outbox.display())
}
