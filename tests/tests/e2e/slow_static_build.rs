//! The static build of the operator's guide runs where there is nothing: a
//! server and the engine alone in an empty root, and a gateway that is known by
//! name only, to a name server.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::process::Process;
use e2e::proxy::{Gateway, Settings};
use e2e::upstream::Upstream;
use e2e::world::{self, TestFolder};
use e2e::{Kind, artefacts, eventually, ports};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// As the guide has it. A static binary can't look for `getrandom` at run time,
/// and would read `/dev/random` instead, which need not be there.
const RUSTFLAGS: &str =
    r#"-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom""#;
/// Loopback, and nobody's: a machine's own name server is elsewhere.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 53);
const NAME: &str = "gateway.test";

fn build() -> PathBuf {
    let folder = artefacts::target().join("static");
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--target",
            TARGET,
        ])
        .args(["-p", artefacts::ENGINE])
        .current_dir(artefacts::repository())
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", RUSTFLAGS)
        .status()
        .expect("running cargo");
    assert!(status.success(), "the static build failed");
    folder.join(TARGET).join("release").join(artefacts::ENGINE)
}

/// Answers every question for an IPv4 address with this machine's own.
async fn name_server() {
    let socket = UdpSocket::bind((NAME_SERVER, 53))
        .await
        .expect("a name server needs port 53: run this test as root");
    let mut question = [0_u8; 512];
    loop {
        let (length, asker) = socket.recv_from(&mut question).await.expect("a question");
        let answer = answer(&question[..length]);
        socket
            .send_to(&answer, asker)
            .await
            .expect("sending an answer");
    }
}

/// RFC 1035: the header and the question again, then one A record.
fn answer(question: &[u8]) -> Vec<u8> {
    let name_length = question[12..]
        .iter()
        .position(|byte| *byte == 0)
        .expect("a name")
        + 1;
    let question_end = 12 + name_length + 4;
    let asks_for_ipv4 = question[question_end - 3] == 1;
    let mut answer = question[..question_end].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(asks_for_ipv4), 0, 0, 0, 0]);
    if asks_for_ipv4 {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    answer
}

/// A root folder that holds the two binaries and the name server's address.
fn empty_root(folder: &TestFolder, kind: Kind, engine: &Path) -> PathBuf {
    let root = folder.sub("root");
    for name in ["plugins", "tmp", "etc"] {
        fs::create_dir(root.join(name)).expect("a folder of the root");
    }
    fs::copy(artefacts::server(kind.name()), root.join("server")).expect("the server");
    fs::copy(engine, root.join("plugins").join(artefacts::ENGINE)).expect("the engine");
    fs::write(
        root.join("etc/resolv.conf"),
        format!("nameserver {NAME_SERVER}\n"),
    )
    .expect("resolv.conf");
    root
}

async fn write(address: &str, token: &str, path: &str, body: &Value) -> Value {
    let request = world::http()
        .request(Method::POST, format!("{address}/v1/{path}"))
        .header("X-Vault-Token", token)
        .json(body);
    let answer = request.send().await.expect("the server answers");
    let status = answer.status();
    let text = answer.text().await.expect("an answer");
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// A development server that sees nothing outside `root`.
fn serve(root: &Path, port: u16, token: &str, folder: &TestFolder) -> Process {
    let mut server = Command::new("/usr/sbin/chroot");
    server
        .arg(root)
        .args(["/server", "server", "-dev", "-dev-no-store-token"])
        .arg("-dev-plugin-dir=/plugins")
        .arg(format!("-dev-root-token-id={token}"))
        .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
        .env_clear()
        .env("HOME", "/tmp");
    Process::start(server, &folder.path.join("server.log"))
}

async fn issues_in_an_empty_root(kind: Kind, engine: &Path) {
    let folder = TestFolder::new(kind.name());
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(Settings {
        folder: folder.sub("gateway"),
        master_key: world::random_key("master"),
        config: world::gateway_config(&upstream, &world::random_key("provider")),
    })
    .await;
    let root = empty_root(&folder, kind, engine);
    let (port, token) = (ports::free(), world::random_key("token"));
    let _server = serve(&root, port, &token, &folder);
    let address = format!("http://127.0.0.1:{port}");
    eventually(
        "the server is active",
        Duration::from_secs(60),
        async || {
            let lookup = world::http().get(format!("{address}/v1/auth/token/lookup-self"));
            let answer = lookup.header("X-Vault-Token", &token).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        },
    )
    .await;

    let sha256: String = Sha256::digest(fs::read(engine).expect("the engine"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let catalog = format!("sys/plugins/catalog/secret/{}", artefacts::ENGINE);
    let entry = json!({"sha256": sha256, "command": artefacts::ENGINE});
    write(&address, &token, &catalog, &entry).await;
    write(
        &address,
        &token,
        "sys/mounts/litellm",
        &json!({"type": artefacts::ENGINE}),
    )
    .await;
    let admin = gateway.admin.replace("127.0.0.1", NAME);
    let config = json!({"base_url": admin, "master_key": gateway.settings.master_key});
    write(&address, &token, "litellm/config", &config).await;
    write(
        &address,
        &token,
        "litellm/roles/app",
        &json!({"models": "demo"}),
    )
    .await;
    let answer = world::http().get(format!("{address}/v1/litellm/creds/app"));
    let answer = answer
        .header("X-Vault-Token", &token)
        .send()
        .await
        .expect("an answer");
    let issued: Value = answer.json().await.expect("JSON");
    let key = issued["data"]["key"].as_str().expect("a key");
    assert_eq!(gateway.chat(key, "demo").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_engine_needs_no_file_of_the_image() {
    let engine = tokio::task::spawn_blocking(build).await.expect("the build");
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    let names = tokio::spawn(name_server());
    for kind in [Kind::Vault, Kind::OpenBao] {
        issues_in_an_empty_root(kind, &engine).await;
    }
    assert!(!names.is_finished(), "the name server ended");
    names.abort();
}
