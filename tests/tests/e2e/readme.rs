//! The commands that a newcomer is told to type.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use e2e::artefacts::{repository, target};
use e2e::eventually;
use e2e::process::Process;
use e2e::world::TestFolder;

/// A run of the whole suite inside the suite would never end, so its own
/// command runs with a name that few tests have.
const FEW_TESTS: &str = "i1_run_by_hand";

/// The lines of the README's `sh` blocks, in their order.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README");
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside && !command.is_empty() => commands.push(command.to_owned()),
            _ => {}
        }
    }
    commands
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(repository())
        .env("CARGO_TARGET_DIR", target())
        .env_remove("OPENAI_API_KEY");
    shell
}

fn run(command: &str) -> Output {
    shell(command)
        .output()
        .expect("running a command of the README")
}

fn text_of(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn readme_commands_work() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README");
    assert!(readme.lines().count() < 200, "a README is read in one go");
    let commands = commands();
    assert!(commands.len() >= 2, "{commands:?}");
    for command in commands {
        let built = target().display().to_string();
        let typed = match command.as_str() {
            "scripts/test.sh" => format!("scripts/test.sh {FEW_TESTS}"),
            other => other.replace("target/", &format!("{built}/")),
        };
        let output = run(&typed);
        assert!(output.status.success(), "$ {typed}\n{}", text_of(&output));
    }
}

fn dev_sh_once(server: &str) {
    let started = Instant::now();
    let output = run(&format!("scripts/dev.sh --once --server {server}"));
    let text = text_of(&output);
    assert!(
        output.status.success(),
        "after {:?}:\n{text}",
        started.elapsed()
    );
    for shown in [
        "litellm/creds/demo",
        "x-litellm-response-cost",
        "[DONE]",
        "spend",
        "lease revoke",
        "HTTP/1.1 401",
    ] {
        assert!(text.contains(shown), "{shown} is not shown:\n{text}");
    }
}

#[test]
fn dev_sh_once_shows_the_main_job_on_vault() {
    dev_sh_once("vault");
}

#[test]
fn dev_sh_once_shows_the_main_job_on_openbao() {
    dev_sh_once("bao");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_sh_runs_on_until_ctrl_c_and_leaves_nothing() {
    let folder = TestFolder::new("dev");
    // A socket's path has to fit into some hundred bytes, so this one is short.
    let temporary = std::env::temp_dir().join(format!("dev-{}", std::process::id()));
    fs::create_dir(&temporary).expect("creating a temporary folder");
    let mut command = shell("exec scripts/dev.sh --server bao");
    command.env("TMPDIR", &temporary);
    let mut dev = Process::start(command, &folder.path.join("dev.log"));
    // A release build may come first.
    let built = Duration::from_secs(900);
    eventually("the demonstration is over", built, async || {
        assert!(dev.is_alive(), "{}", dev.output());
        dev.output().contains("Ctrl-C stops and removes everything")
    })
    .await;
    assert!(fs::read_dir(&temporary).expect("a folder").next().is_some());
    dev.interrupt();
    dev.ended(Duration::from_secs(15)).await;
    let soon = Duration::from_secs(5);
    eventually("no process is left", soon, async || !dev.group_is_alive()).await;
    let left = fs::read_dir(&temporary).expect("a folder").count();
    let _ = fs::remove_dir_all(&temporary);
    assert_eq!(left, 0, "files are left in the temporary folder");
}
