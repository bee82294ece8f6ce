//! Chooses among the deployments of one public name.
//!
//! It owns the turn: each call takes the next one. It knows nothing of a
//! provider's health yet and never sends anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Deployment;

/// One turn for all names: fair enough over any number of calls, and nothing to
/// keep for each name.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// The deployment that serves the next call of `model`; None where no
/// deployment has this name.
pub(crate) fn choose<'a>(
    deployments: &'a [Arc<Deployment>],
    model: &str,
) -> Option<&'a Arc<Deployment>> {
    let named = || deployments.iter().filter(|one| *one.public_name == *model);
    let count = named().count();
    if count <= 1 {
        return named().next();
    }
    named().nth(TURN.fetch_add(1, Ordering::Relaxed) % count)
}
