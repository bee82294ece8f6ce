"""A call through the gateway: beside nginx, with everything enforced beside
nothing, and with few keys beside many. Run by scripts/bench.sh."""

import argparse
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from measure import Figures, Row, cpu_seconds, processor_times, report, resident_mib, tell_stolen, wait_until

# One thing measured on one core, its two ends on the other.
GATEWAY_CORE, ENDS_CORE = "0", "1"
GOVERNED = 10_000
CROWD = 100_000
MASTER = "sk-" + secrets.token_hex(16)

ROWS = [
    Row("R1", "CPU a call, plain, c=16 (µs) ÷ nginx", ("cpu 16", "plain"), ("cpu 16", "nginx"), "<=", 1.15),
    Row("R1", "CPU a call, plain, c=64 (µs) ÷ nginx", ("cpu 64", "plain"), ("cpu 64", "nginx"), "<=", 1.15),
    Row("R1", "CPU a call, governed, c=16 (µs) ÷ nginx", ("cpu 16", "governed"), ("cpu 16", "nginx"), "<=", 1.4),
    Row("R1", "CPU a call, governed, c=64 (µs) ÷ nginx", ("cpu 64", "governed"), ("cpu 64", "nginx"), "<=", 1.4),
    Row("R2", "calls/s, plain, c=64 ÷ nginx", ("rate 64", "plain"), ("rate 64", "nginx"), ">=", 0.85),
    Row("R2", "calls/s, governed, c=64 ÷ nginx", ("rate 64", "governed"), ("rate 64", "nginx"), ">=", 0.7),
    Row("R3", "calls/s, governed ÷ plain, c=64", ("rate 64", "governed"), ("rate 64", "plain"), ">=", 0.9),
    Row("R11", "calls/s, 1,000 keys ÷ 1 key, c=64", ("rate 64", "thousand"), ("rate 64", "one"), ">=", 0.95),
    Row("R11", "calls/s, 100,000 keys ÷ 1 key, c=64", ("rate 64", "crowd"), ("rate 64", "one"), ">=", 0.95),
]


class Stage:
    """A mock provider, nginx and the gateway in front of it, and files of keys."""

    def __init__(self, binaries, database, folder):
        self.binaries, self.database, self.folder = binaries, database, folder
        self.processes = []
        self.pids = {}

    def begin(self):
        provider = f"127.0.0.1:{free_port()}"
        self.start(ENDS_CORE, [self.binaries / "load", "provider", "--listen", provider])
        self.start_nginx(provider)
        self.start_gateway(provider)
        self.make_keys()

    def start(self, core, command, environment=None):
        log = open(self.folder / f"{Path(command[0]).name}.log", "a")
        process = subprocess.Popen(["taskset", "-c", core, *map(str, command)], stdout=log, stderr=log, env=environment)
        self.processes.append(process)
        return process.pid

    def start_nginx(self, provider):
        port = free_port()
        config = self.folder / "nginx.conf"
        config.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {self.folder}/nginx.pid; error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {self.folder}; proxy_temp_path {self.folder};
  fastcgi_temp_path {self.folder}; uwsgi_temp_path {self.folder}; scgi_temp_path {self.folder};
  keepalive_requests 100000000;
  upstream provider {{ server {provider}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header connection "";
      proxy_set_header authorization "Bearer sk-provider"; proxy_buffering off;
    }}
  }}
}}
""")
        self.pids["nginx"] = self.start(GATEWAY_CORE, ["/usr/sbin/nginx", "-c", config])
        self.nginx = f"127.0.0.1:{port}"
        wait_until(lambda: socket.create_connection(("127.0.0.1", port), 1).close())

    def start_gateway(self, provider):
        port, admin = free_port(), free_port()
        config = self.folder / "config.yaml"
        config.write_text(f"""
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: "http://{provider}/v1", api_key: sk-provider}}
    model_info: {{input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001}}
""")
        self.environment = dict(
            os.environ, LLM_PROXY_CONFIG=str(config), DATABASE_URL=self.database, LLM_PROXY_MASTER_KEY=MASTER,
            LLM_PROXY_LISTEN=f"127.0.0.1:{port}", LLM_PROXY_ADMIN_LISTEN=f"127.0.0.1:{admin}", LLM_PROXY_LOG="info")
        self.import_keys()
        self.gateway_command = [self.binaries / "llm-proxy", "serve"]
        pid = self.start(GATEWAY_CORE, self.gateway_command, self.environment)
        self.pids.update(dict.fromkeys(("plain", "governed", "one", "thousand", "crowd"), pid))
        self.gateway = f"127.0.0.1:{port}"
        wait_until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{admin}/health/readiness", timeout=1).read())

    def import_keys(self):
        """As an operator brings keys over: all in one file."""
        sets = {"plain": (1, {}), "crowd": (CROWD, {"max_budget": 1e6, "rpm_limit": 10**9, "tpm_limit": 10**12})}
        rows, keys = [], {}
        for name, (count, limits) in sets.items():
            keys[name] = ["sk-" + secrets.token_urlsafe(24) for _ in range(count)]
            for at, key in enumerate(keys[name]):
                rows.append({"token": hashlib.sha256(key.encode()).hexdigest(), "key_alias": f"{name}-{at}",
                             "key_name": f"sk-...{key[-4:]}", "models": [], "spend": 0.0, **limits})
        file = self.folder / "keys.json"
        file.write_text(json.dumps(rows))
        subprocess.run([str(self.binaries / "llm-proxy"), "keys", "import", str(file)], env=self.environment,
                       check=True, stdout=subprocess.DEVNULL)
        self.keys = keys

    def make_keys(self):
        crowd = self.keys["crowd"]
        for name, keys in (("plain", self.keys["plain"]), ("nginx", self.keys["plain"]), ("governed", crowd[:GOVERNED]),
                           ("one", crowd[:1]), ("thousand", crowd[:1_000]), ("crowd", crowd)):
            (self.folder / f"{name}.keys").write_text("\n".join(keys) + "\n")

    def closed(self, who, connections, seconds):
        """Calls a second and the processor time of a call in microseconds."""
        address = self.nginx if who == "nginx" else self.gateway
        before = cpu_seconds(self.pids[who])
        text = subprocess.check_output(
            ["taskset", "-c", ENDS_CORE, str(self.binaries / "load"), "closed", "--address", address,
             "--keys", str(self.folder / f"{who}.keys"), "--connections", str(connections), "--seconds", str(seconds)])
        used = cpu_seconds(self.pids[who]) - before
        told = json.loads(text)
        if told["refused"] or not told["answered"]:
            sys.exit(f"{who}: calls failed: {told}")
        return told["answered"] / told["seconds"], used / told["answered"] * 1e6

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(timeout=30)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def measure(stage, figures, rounds, seconds):
    # Each key is known before anything counts.
    for who in ("nginx", "plain", "crowd"):
        stage.closed(who, 64, 2 * seconds)
    for number in range(rounds):
        before = processor_times()
        for connections in (16, 64):
            order = ["nginx", "plain", "governed"]
            # Who goes first changes, so that none has the warmer machine.
            order = order[number % 3:] + order[:number % 3]
            for who in order:
                rate, cpu = stage.closed(who, connections, seconds)
                figures.add(f"rate {connections}", who, rate)
                figures.add(f"cpu {connections}", who, cpu)
        for who in ("one", "thousand", "crowd"):
            figures.add("rate 64", who, stage.closed(who, 64, seconds)[0])
        tell_stolen(number + 1, before)
    print(f"resident after it all: {resident_mib(stage.pids['plain']):.0f} MiB, {CROWD:,} keys known", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    stage = Stage(arguments.bin, f"sqlite://{folder}/bench.db", folder)
    figures = Figures()
    try:
        stage.begin()
        measure(stage, figures, arguments.rounds, arguments.seconds)
    finally:
        stage.stop()
        shutil.rmtree(folder, ignore_errors=True)
    report(figures, ROWS, arguments.json)


if __name__ == "__main__":
    main()
