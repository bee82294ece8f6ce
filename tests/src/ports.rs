//! Free ports on loopback, below those that the operating system gives to outgoing
//! connections: one of these may be taken by a client of another test before its
//! owner has opened it, or while its owner is started again. A port that was handed
//! out in this run is not handed out again before all the others were.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

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
        if is_free(found) {
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

/// Asked by connecting. To listen on it for a moment would take it for longer: a process
/// that another test is starting has this one's sockets until it runs its own program.
fn is_free(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let refused = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_port_can_be_listened_on_while_processes_are_started() {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        // With a folder the standard library forks.
                        let mut command = Command::new("true");
                        assert!(command.current_dir("/").status().unwrap().success());
                    }
                });
            }
            let taken = (0..2_000).filter(|_| TcpListener::bind(("127.0.0.1", free())).is_err());
            let taken = taken.count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(taken, 0);
        });
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        let port = free();
        assert!(is_free(port));
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(!is_free(port));
    }
}
