//! Decoded roles in memory, so that issuing a key reads no storage. An entry is
//! dropped when its role changes, here or on another node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vault_plugin_sdk::{Error, Request};

use super::{RoleEntry, load};

/// Few kilobytes each; beyond it the cache starts anew.
const MAX_ROLES: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct RoleCache {
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    roles: HashMap<String, Arc<RoleEntry>>,
    /// Counts the changes, so that what was read before one is not kept after it.
    changes: u64,
}

impl RoleCache {
    /// The role as it is stored.
    pub(crate) async fn load(
        &self,
        req: &Request,
        name: &str,
    ) -> Result<Option<Arc<RoleEntry>>, Error> {
        let changes = {
            let cached = self.lock();
            if let Some(role) = cached.roles.get(name) {
                return Ok(Some(Arc::clone(role)));
            }
            cached.changes
        };
        let Some(role) = load(req, name).await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut cached = self.lock();
        if cached.changes == changes {
            if cached.roles.len() >= MAX_ROLES {
                cached.roles.clear();
            }
            cached.roles.insert(name.to_owned(), Arc::clone(&role));
        }
        Ok(Some(role))
    }

    /// To be called after each change of the stored role.
    pub(crate) fn forget(&self, name: &str) {
        let mut cached = self.lock();
        cached.changes += 1;
        cached.roles.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        // A panic cannot leave a map of whole entries half changed.
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
