//! Builds of the maker's: the first one, which devices are made with, and those that follow.

use super::manufacture::maker;
use crate::args::Release as Asked;
use crate::exit::{Exit, Lacking};
use crate::state::State;
use anyhow::{Context, Result};
use effects::{Clock, SystemClock};
use factory::{
    CloudConfig, FlashPlan, Maker, Release, RollbackIndexes, Stages, Updates, VerityErrorMode,
};
use serde_json::json;

/// The rollback index of what is built today.
pub(super) const INDEX: u64 = 2;
/// The model of this maker's devices.
pub(super) const MODEL: &str = "hf1";
/// The first build's: 2026-11-05, as its security patch.
const FIRST_TIMESTAMP: i64 = 1_793_836_800;
const SECURITY_PATCH: &str = "2026-11-05";
const OS_VERSION: &str = "16";
/// What the system of this maker's devices knows of the cloud.
const CLOUD: &str = "maker/cloud.json";

/// What a build is called, and how old it is.
pub(super) struct Order {
    release: Release,
    incremental: String,
    timestamp: i64,
    index: u64,
}

impl Order {
    /// The build that devices are made with.
    pub(super) fn first() -> Self {
        Self {
            release: Release {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                os_version: OS_VERSION.to_owned(),
                security_patch: SECURITY_PATCH.to_owned(),
            },
            incremental: "1".to_owned(),
            timestamp: FIRST_TIMESTAMP,
            index: INDEX,
        }
    }

    /// The same with another rollback index.
    pub(super) fn with_index(self, index: u64) -> Self {
        Self { index, ..self }
    }

    fn of(asked: &Asked) -> Self {
        let first = Self::first();
        let now = SystemClock::default().now().seconds().cast_signed();
        let or = |given: &Option<String>, first: String| given.clone().unwrap_or(first);
        Self {
            release: Release {
                version: or(&asked.release_version, first.release.version),
                os_version: or(&asked.os_version, first.release.os_version),
                security_patch: or(&asked.security_patch, first.release.security_patch),
            },
            incremental: asked.incremental.clone(),
            // A clock that is behind must not make a build that every device calls older.
            timestamp: asked.timestamp.unwrap_or_else(|| now.max(FIRST_TIMESTAMP + 1)),
            index: asked.rollback_index,
        }
    }

    /// The plan of this build, for devices that take the updates of `maker`, if any.
    pub(super) fn plan<'a>(
        &self,
        stages: &'a Stages,
        cloud: Option<CloudConfig>,
        maker: Option<&Maker>,
    ) -> Result<FlashPlan<'a>> {
        let otacerts = maker.map(Maker::otacerts).transpose()?;
        let updates = otacerts.map(|otacerts| Updates {
            model: MODEL.to_owned(),
            incremental: self.incremental.clone(),
            timestamp: self.timestamp,
            otacerts,
        });
        Ok(FlashPlan {
            stages,
            release: self.release.clone(),
            rollback: RollbackIndexes::all(self.index),
            cloud,
            files: Vec::new(),
            updates,
            ta_signers: maker.map(|maker| maker.ta_signers().to_vec()).unwrap_or_default(),
            verity_error_mode: VerityErrorMode::Managed,
        })
    }
}

/// The programs of the boot chain.
pub(super) fn stages() -> Result<Stages> {
    Ok(Stages::load(&Stages::folder()?).map_err(|error| Lacking(error.to_string()))?)
}

/// Keeps what devices of this maker know of the cloud: later builds know it too.
pub(super) fn remember_cloud(state: &State, cloud: Option<&CloudConfig>) -> Result<()> {
    state.write_private(CLOUD, &serde_json::to_vec(&cloud)?)
}

fn remembered_cloud(state: &State) -> Result<Option<CloudConfig>> {
    match std::fs::read(state.path(CLOUD)) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| state.damaged(CLOUD)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| state.path(CLOUD).display().to_string()),
    }
}

/// `holdfast device release`.
pub(crate) fn release(state: &State, asked: &Asked) -> Result<Exit> {
    let maker = maker(state, &SystemClock::default())?;
    let stages = stages()?;
    let plan = Order::of(asked).plan(&stages, remembered_cloud(state)?, Some(&maker))?;
    let lacking = |error| Lacking(format!("{}: {error}", asked.output.display()));
    std::fs::create_dir_all(&asked.output).map_err(lacking)?;
    let images = plan.release(maker.avb_key(), &asked.output)?;
    let updates = plan.updates.as_ref().context("a maker's build has them")?;
    let build = updates.build(&plan.release);
    if asked.json {
        let (key, certificate) = (state.path("maker/ota.key"), state.path("maker/ota.pem"));
        let images: Vec<_> = images.iter().map(|path| path.display().to_string()).collect();
        let said = json!({ "images": images, "build": build, "key": key, "cert": certificate });
        println!("{said}");
        return Ok(Exit::Held);
    }
    images.iter().for_each(|path| println!("{}", path.display()));
    println!("build {}", build.fingerprint);
    Ok(Exit::Held)
}
