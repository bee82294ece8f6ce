//! What a person sees who runs the binary.
//!
//! Owns the texts. All but the version go to stderr: stdout belongs to the
//! handshake.

use std::{fmt::Write as _, fs::File, io, io::Write, process::ExitCode};

use sha2::{Digest, Sha256};

use super::ServeOptions;

pub(super) fn version(options: &ServeOptions) -> ExitCode {
    match writeln!(io::stdout(), "{} {}", options.name, options.version) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

pub(super) fn explain(options: &ServeOptions) -> ExitCode {
    let ServeOptions {
        name,
        version,
        description,
    } = options;
    let sum = own_sha256().unwrap_or_else(|_| "<sha256 of this file>".to_owned());
    let text = format!(
        "{name} {version}: {description}\n\n\
         This is a plugin: Vault or OpenBao starts it, a person does not.\n\
         Put the file into the server's plugin_directory, then register and mount it:\n\n\
         \x20 vault plugin register -sha256={sum} secret {name}\n\
         \x20 vault secrets enable -path=<path> {name}\n\n\
         (With OpenBao, say bao for vault.)\n\
         SHA-256: {sum}\n"
    );
    say(&text)
}

pub(super) fn explain_no_tls() -> ExitCode {
    say(
        "the server offers no AutoMTLS, and this plugin serves nothing without it: \
         use Vault 1.12 or later, or OpenBao\n",
    )
}

fn say(text: &str) -> ExitCode {
    // Without a stderr there is nobody to tell; the exit code says it too.
    io::stderr().write_all(text.as_bytes()).ok();
    ExitCode::FAILURE
}

fn own_sha256() -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(std::env::current_exe()?)?;
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        write!(text, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(text)
}
