//! The firmware's own sandbox: no files at all, no reach to other programs (Landlock). What is
//! left is the network, for which it is there.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};

/// The newest interface whose rights are taken away where the kernel knows them.
const WISHED: ABI = ABI::V6;

/// Gives everything up but the network. Says what the kernel could not take away.
pub fn enter() -> Result<Option<String>, String> {
    rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())?;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WISHED))
        .and_then(|rules| rules.scope(Scope::from_all(WISHED)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| error.to_string())?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => {
            Some("a kernel with Landlock ABI 6 (Linux 6.12) confines it fully".into())
        }
        RulesetStatus::NotEnforced => {
            Some("boot a kernel with CONFIG_SECURITY_LANDLOCK and landlock in its lsm= list".into())
        }
    })
}
