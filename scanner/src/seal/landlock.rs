//! Landlock: no file system, no network, no signal or abstract socket outside.
//!
//! Applied once in a template; workers inherit it. No rule allows anything, so every open, execution
//! and connection by name fails, whatever the engine or a captured process asks for.

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
};
use log::info;

use super::SealError;

/// Denies all that the kernel can deny.
///
/// # Errors
/// [`SealError::Landlock`] when the kernel can deny nothing.
pub fn deny_all() -> Result<(), SealError> {
    let status = restrict().map_err(|error| SealError::Landlock(error.to_string()))?;
    if status.ruleset == RulesetStatus::NotEnforced {
        let reason = "not supported by this kernel, or disabled (lsm= on its command line)";
        return Err(SealError::Landlock(reason.to_owned()));
    }
    let abi = ABI::from(status.landlock);
    info!("confined; Landlock denies all that its ABI {abi} knows");
    Ok(())
}

fn restrict() -> Result<landlock::RestrictionStatus, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V9))?
        .handle_access(AccessNet::from_all(ABI::V9))?
        .scope(Scope::from_all(ABI::V9))?
        .create()?
        .restrict_self()
}
