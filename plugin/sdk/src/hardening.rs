//! What keeps secrets in memory from reaching a disk.
//!
//! Owns the limits that the process sets on itself before it does anything
//! else. Locking memory takes a privilege, so it happens only when the server
//! asks, and its failure is fatal, as in Vault's own SDK.

use std::io;

use rustix::{
    fs::Mode,
    mm::{MlockAllFlags, mlockall},
    process::{Resource, Rlimit, setrlimit, umask},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum HardeningError {
    #[error("cannot turn core dumps off: {0}")]
    CoreDumps(io::Error),
    #[error(
        "cannot lock memory ({0}), and VAULT_PLUGIN_MLOCK_ENABLED asks for it: grant the plugin \
         the capability (setcap cap_ipc_lock=+ep), or set disable_mlock on the server"
    )]
    Mlock(io::Error),
}

pub(crate) fn apply(lock_memory: bool) -> Result<(), HardeningError> {
    // Files made from here on, the socket first, belong to this user alone.
    umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(|error| HardeningError::CoreDumps(error.into()))?;
    if lock_memory {
        let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE;
        mlockall(flags).map_err(|error| HardeningError::Mlock(error.into()))?;
    }
    Ok(())
}
