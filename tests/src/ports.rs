//! Free ports on loopback. The operating system chooses; a port that was handed
//! out in this run is not handed out again, because its owner may not have
//! opened it yet or may open it again after a restart.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on now.
pub fn free() -> u16 {
    loop {
        let socket = TcpListener::bind("127.0.0.1:0").expect("binding a free port on loopback");
        let port = socket.local_addr().expect("the port just bound").port();
        if GIVEN.lock().expect("the list of ports").insert(port) {
            return port;
        }
    }
}
