//! How much memory the large bodies of all requests may take together: as many
//! as there are connections would be more than a machine has.

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Of all together. A body that is edited for its provider is there twice.
pub(super) const BYTES_MAX: usize = 512 * 1024 * 1024;
/// What memory is counted in. Less than that is bounded by the number of
/// connections.
const UNIT: usize = 64 * 1024;

/// The gateway's.
pub(super) static ROOM: Room = Room::new(BYTES_MAX);

#[derive(Debug)]
pub(super) struct Room(Semaphore);

/// The room that one body takes. Dropped, it is free.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    room: &'a Room,
    permit: Option<SemaphorePermit<'a>>,
}

impl Room {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self(Semaphore::const_new(bytes_max / UNIT))
    }

    pub(super) const fn nothing(&self) -> Taken<'_> {
        Taken {
            room: self,
            permit: None,
        }
    }
}

impl Taken<'_> {
    /// Makes it as large as a body of this length; false where there is no room.
    pub(super) fn grow(&mut self, length: usize) -> bool {
        let has = self.permit.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = (length / UNIT).saturating_sub(has);
        let Ok(more) = u32::try_from(more) else {
            return false;
        };
        if more == 0 {
            return true;
        }
        let Ok(more) = self.room.0.try_acquire_many(more) else {
            return false;
        };
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        true
    }
}

impl Taken<'static> {
    /// The same bytes, which take the room until the last handle on them is gone.
    pub(super) fn with(self, body: Bytes) -> Bytes {
        match self.permit {
            None => body,
            Some(permit) => Bytes::from_owner(Counted {
                body,
                _permit: permit,
            }),
        }
    }
}

struct Counted {
    body: Bytes,
    _permit: SemaphorePermit<'static>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h9_large_bodies_share_a_bounded_room_and_leave_it_with_their_last_handle() {
        static SMALL: Room = Room::new(4 * UNIT);
        let take = |length| {
            let mut taken = SMALL.nothing();
            taken
                .grow(length)
                .then(|| taken.with(Bytes::from(vec![7; length])))
        };
        let (first, second) = (take(3 * UNIT + 5), take(UNIT));
        assert!(take(UNIT).is_none(), "full");
        // Many small ones always fit.
        assert_eq!(take(UNIT - 1).map(|body| body.len()), Some(UNIT - 1));
        drop(second);
        let again = take(UNIT);
        assert_eq!(again.map(|body| body.len()), Some(UNIT));
        let part = first.expect("room").slice(5..9);
        assert!(take(2 * UNIT).is_none(), "a part of it is in use");
        assert_eq!(&part[..], [7; 4]);
        drop(part);
        let mut grows = SMALL.nothing();
        for length in [UNIT, 2 * UNIT, 4 * UNIT] {
            assert!(grows.grow(length), "{length}");
        }
        assert!(!grows.grow(5 * UNIT));
        drop(grows);
        assert!(take(4 * UNIT).is_some());
    }
}
