"""Issuing keys through a real Vault: our engine against the yardstick, on one
server, at one fake gateway, in interleaved rounds. Run by scripts/bench.sh."""

import argparse
import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from measure import Figures, cpu_seconds, free_port, resident_mib, rotated, stop_when_told, wait_until
from report import Row, report

ENGINES = OURS, YARDSTICK = "vault-plugin-secrets-litellm", "engine"
LEASES_BEFORE_MEMORY, LEASES_TO_REVOKE = 8_000, 5_000
# What a server gives a plugin that it starts.
HANDSHAKE = {
    "VAULT_BACKEND_PLUGIN": "6669da05-b1c8-4f49-97d9-c8e5bed98e20", "PLUGIN_PROTOCOL_VERSIONS": "5",
    "VAULT_PLUGIN_AUTOMTLS_ENABLED": "true", "VAULT_PLUGIN_METADATA_MODE": "false", "VAULT_VERSION": "1.21.0",
}


class Server:
    """A development Vault with both engines mounted at one fake gateway."""

    def __init__(self, vault, binaries, folder):
        self.processes = []
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        for name in ENGINES:
            shutil.copy(binaries / name, self.plugins / name)
        self.vault, self.binaries, self.folder = vault, binaries, folder

    def begin(self):
        gateway = f"127.0.0.1:{free_port()}"
        self.start([self.binaries / "fakeadmin", gateway])
        self.token = secrets.token_hex(16)
        # Vault's development server takes the port above as well.
        port = free_port(2)
        self.address = f"http://127.0.0.1:{port}"
        self.vault_pid = self.start(
            [self.vault, "server", "-dev", f"-dev-root-token-id={self.token}", f"-dev-listen-address=127.0.0.1:{port}",
             f"-dev-plugin-dir={self.plugins}", "-log-level=error"], log=self.folder / "vault.log", home=self.folder)
        wait_until(lambda: self.call("GET", "sys/health"))
        for name in ENGINES:
            digest = subprocess.check_output(["sha256sum", self.plugins / name], text=True).split()[0]
            self.call("PUT", f"sys/plugins/catalog/secret/{name}", {"sha256": digest, "command": name})
            self.call("POST", f"sys/mounts/{name}", {"type": name})
            config = {"base_url": f"http://{gateway}", "master_key": "sk-bench-0123456789", "verify_connection": False}
            self.call("POST", f"{name}/config", config)
            self.call("POST", f"{name}/roles/app", {"models": "m", "max_budget": 1, "ttl": "1h", "max_ttl": "2h"})

    def start(self, command, log=None, home=None):
        output = open(log, "w") if log else subprocess.DEVNULL
        environment = dict(os.environ, HOME=str(home)) if home else None
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, env=environment)
        self.processes.append(process)
        return process.pid

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.address}/v1/{path}", method=method, data=json.dumps(body).encode() if body is not None else None,
            headers={"X-Vault-Token": self.token})
        with urllib.request.urlopen(request, timeout=300) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def issue(self, engine, connections, count):
        """Rate (1/s) and p50 (µs) of `count` reads of creds."""
        text = subprocess.check_output(
            [str(self.binaries / "credsload"), self.address, self.token, f"{engine}/creds/app", str(connections), str(count)], text=True)
        found = re.search(r"bad=(\d+) rate=(\d+)/s p50=(\d+)us", text)
        if found is None or found[1] != "0":
            sys.exit(f"issuing failed: {text}")
        return float(found[2]), float(found[3])

    def revoke_all(self, engine):
        self.call("PUT", f"sys/leases/revoke-prefix/{engine}/creds/app", {"sync": True})

    def plugin_pid(self, engine):
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "exe") == str(self.plugins / engine):
                    return int(entry.name)
            except OSError:
                continue
        sys.exit(f"no process of {engine}")

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(timeout=30)


def handshake_ms(binary, certificate):
    """From exec to the line that tells the server where to connect."""
    environment = dict(os.environ, PLUGIN_CLIENT_CERT=certificate, **HANDSHAKE)
    started = time.perf_counter()
    process = subprocess.Popen([str(binary)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    line = process.stdout.readline()
    elapsed = (time.perf_counter() - started) * 1000
    process.kill()
    process.wait()
    if line.count(b"|") < 5 or len(base64.b64decode(line.split(b"|")[5].strip() + b"==")) < 100:
        sys.exit(f"{binary} printed no handshake line: {line!r}")
    return elapsed


def client_certificate(folder):
    """What the server puts into the environment: a P-521 certificate."""
    path = folder / "client.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "/dev/null", "-out", str(path)],
        check=True, capture_output=True)
    return path.read_text()


def row(case, relation=None, target=None):
    return Row("R12", case, (case, OURS), (case, YARDSTICK), relation, target)


ROWS = [
    row("creds p50 c=1 (µs)", "<=", 0.9), row("creds issues/s c=16", ">=", 1.1), row("creds p50 c=16 (µs)", "<=", 0.9),
    row("resident MiB after 8,000 leases", "<=", 0.4), row("exec to handshake line (ms)", "<=", 0.3),
    row("reload and first read (ms)", "<=", 0.7), row("revokes/s by prefix", ">=", 0.8),
    row("engine CPU an issue (µs)"), row("server CPU an issue (µs)"),
]


def measure(server, figures, rounds, certificate):
    for engine in ENGINES:
        server.issue(engine, 16, LEASES_BEFORE_MEMORY)
        figures.add("resident MiB after 8,000 leases", engine, resident_mib(server.plugin_pid(engine)))
    for number in figures.rounds(rounds, "issuing"):
        order = rotated(ENGINES, number)
        for engine in order:
            figures.add("creds p50 c=1 (µs)", engine, server.issue(engine, 1, 1_000)[1])
        for engine in order:
            plugin = server.plugin_pid(engine)
            cpu, server_cpu = cpu_seconds(plugin), cpu_seconds(server.vault_pid)
            rate, p50 = server.issue(engine, 16, 3_000)
            figures.add("creds issues/s c=16", engine, rate)
            figures.add("creds p50 c=16 (µs)", engine, p50)
            figures.add("engine CPU an issue (µs)", engine, (cpu_seconds(plugin) - cpu) / 3_000 * 1e6)
            figures.add("server CPU an issue (µs)", engine, (cpu_seconds(server.vault_pid) - server_cpu) / 3_000 * 1e6)
        for engine in order:
            figures.add("exec to handshake line (ms)", engine, handshake_ms(server.plugins / engine, certificate))
        for engine in order:
            started = time.perf_counter()
            server.call("PUT", "sys/plugins/reload/backend", {"mounts": [f"{engine}/"]})
            server.call("GET", f"{engine}/creds/app")
            figures.add("reload and first read (ms)", engine, (time.perf_counter() - started) * 1000)
    for engine in ENGINES:
        server.revoke_all(engine)
    for number in figures.rounds(rounds, "revoking"):
        for engine in rotated(ENGINES, number):
            server.issue(engine, 16, LEASES_TO_REVOKE)
            started = time.perf_counter()
            server.revoke_all(engine)
            figures.add("revokes/s by prefix", engine, LEASES_TO_REVOKE / (time.perf_counter() - started))


def main():
    stop_when_told()
    parser = argparse.ArgumentParser()
    parser.add_argument("--vault", required=True)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    figures = Figures()
    server = Server(arguments.vault, arguments.bin, folder)
    try:
        server.begin()
        measure(server, figures, arguments.rounds, client_certificate(folder))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    report("creds", figures, ROWS, arguments.json)


if __name__ == "__main__":
    main()
