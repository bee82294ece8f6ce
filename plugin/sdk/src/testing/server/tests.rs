use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, test_kill_process_group};
use serde_json::json;

use super::{Client, Folder, Process, TestServer};

fn gone(group: Pid) -> bool {
    let started = Instant::now();
    while test_kill_process_group(group).is_ok() {
        if started.elapsed() > Duration::from_secs(10) {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

/// A process with a child of its own, as a server with a plugin is.
fn family(folder: &Folder) -> Process {
    let script = "sleep 600 & echo up; wait".to_owned();
    let process = Process::start(Path::new("sh"), &["-c".to_owned(), script], &folder.0).unwrap();
    while !process.log().contains("up") {
        thread::sleep(Duration::from_millis(20));
    }
    process
}

#[test]
fn a_drop_ends_all_that_was_started() {
    let folder = Folder::new().unwrap();
    let process = family(&folder);
    let group = process.group().unwrap();
    drop(process);
    assert!(gone(group));
    let path = folder.0.clone();
    drop(folder);
    assert!(!path.exists());
}

#[test]
fn a_test_that_is_killed_leaves_nothing_running() {
    let folder = Folder::new().unwrap();
    let mut process = family(&folder);
    process.abandon();
    // Collects the group's leader, which would count as alive otherwise.
    while !process.has_ended().unwrap() {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(gone(process.group().unwrap()));
}

#[test]
fn a_server_that_is_none_is_told_with_its_log() {
    for binary in ["/nonexistent/vault", "false"] {
        let error = TestServer::start(binary).unwrap_err().to_string();
        assert!(error.contains("does not come up"), "{error}");
    }
    let error = TestServer::start("/nonexistent/vault").unwrap_err();
    assert!(error.to_string().contains("/nonexistent/vault"), "{error}");
}

/// Answers one call with `answer` and gives what it was asked.
fn exchange(answer: &'static str, call: impl FnOnce(&Client)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(listener.local_addr().unwrap(), "root".to_owned());
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut asked = [0_u8; 1024];
        let read = stream.read(&mut asked).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    call(&client);
    server.join().unwrap()
}

#[test]
fn calls_are_what_the_command_line_sends() {
    let asked = exchange("HTTP/1.0 204 No Content\r\n\r\n", |client| {
        let answer = client.below("/notes/").write("a", &json!({"b": 1}));
        assert!(answer.unwrap().is_ok());
    });
    assert!(
        asked.starts_with("POST /v1/notes/a HTTP/1.0\r\n"),
        "{asked}"
    );
    assert!(asked.contains("X-Vault-Token: root\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\n{\"b\":1}"), "{asked}");

    let refusal = "HTTP/1.0 400 Bad Request\r\n\r\n{\"errors\":[\"no\",\"never\"]}";
    let asked = exchange(refusal, |client| {
        let answer = client.login("login/ann", &json!({})).unwrap();
        assert_eq!(
            (answer.status, answer.complaints().as_str()),
            (400, "no; never")
        );
        let error = answer.ok().unwrap_err().to_string();
        assert_eq!(error, "status 400: no; never");
    });
    assert!(!asked.contains("X-Vault-Token"), "{asked}");
}

#[test]
fn a_path_cannot_smuggle_a_header() {
    let client = Client::new(([127, 0, 0, 1], 1).into(), "root".to_owned());
    for path in ["a\r\nX-Vault-Token: b", "a b"] {
        let error = client.read(path).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
