//! Free ports on loopback, below those that the operating system gives to outgoing
//! connections: one of these may be taken by a client of another test before its
//! owner has opened it, or while its owner is started again. A port that was handed
//! out in this run is not handed out again before all the others were.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::Mutex;

/// Linux gives outgoing connections 32768 and above, the scripts theirs from 20000.
const ALL: Range<u16> = 10_240..20_000;

/// The next one to try; runs at the same time begin at different ones.
static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A port that nobody listens on now.
///
/// # Panics
/// When none is left.
pub fn free() -> u16 {
    let mut next = NEXT.lock().expect("the next port");
    let mut port = next.unwrap_or_else(first);
    for _ in ALL {
        let found = port;
        port = if port + 1 < ALL.end {
            port + 1
        } else {
            ALL.start
        };
        if TcpListener::bind(("127.0.0.1", found)).is_ok() {
            *next = Some(port);
            return found;
        }
    }
    panic!("no port is free on loopback");
}

/// Far from that of a process that was started just before.
fn first() -> u16 {
    let count = u32::from(ALL.end - ALL.start);
    let place = std::process::id().wrapping_mul(7_919) % count;
    ALL.start + u16::try_from(place).expect("less than all")
}
