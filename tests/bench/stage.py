"""What stands on the benchmarks' stage: a mock provider, nginx, our gateway on
either store, PostgreSQL, and the generator of calls."""

import hashlib
import json
import os
import pwd
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from measure import free_port, tree_cpu_seconds, wait_until

# What is measured on one core, all else on the other.
GATEWAY_CORE, ENDS_CORE = "0", "1"
# On SQLite accounts go into the tables ten seconds after their first call at the latest.
FOLDED_S = 11
LIMITS = {"max_budget": 1e6, "rpm_limit": 10**9, "tpm_limit": 10**12}


class CallsFailed(Exception):
    """A contender that did not answer all calls is not measured by the rest."""


@dataclass
class Contender:
    """Who calls are sent to. Direct calls have no process to measure."""

    name: str
    address: str
    keys: Path
    pid: int | None = None
    headers: tuple = ()
    # How long after its last answer it has written what it writes behind.
    behind_s: float = 0
    # Of the PostgreSQL that it asks and is measured with it.
    store_pid: int | None = None


class Stage:
    def __init__(self, binaries, postgres):
        if os.cpu_count() < 2:
            sys.exit("two processors are needed: one for what is measured, one for its two ends")
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        self.binaries, self.postgres = binaries, postgres
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.folder.chmod(0o755)
        self.processes = []

    def start(self, core, command, environment=None, as_user=None, folder=None):
        command = ["taskset", "-c", core, *map(str, command)]
        with open(self.folder / f"{Path(command[3]).name}.log", "a", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
                                       user=as_user, cwd=folder, start_new_session=True)
        self.processes.append(process)
        return process.pid

    def end(self, pid):
        process = next(process for process in self.processes if process.pid == pid)
        self.processes.remove(process)
        # A group that was stopped for the others' sake hears nothing.
        for sign in (signal.SIGCONT, signal.SIGTERM):
            try:
                os.killpg(pid, sign)
            except ProcessLookupError:
                break
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(pid, signal.SIGKILL)
            process.wait()

    def stop(self):
        for process in reversed(list(self.processes)):
            self.end(process.pid)
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_logs(self, folder):
        """Copies what the servers said to where it outlives the stage."""
        folder.mkdir(exist_ok=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, folder)
        return folder

    def write_keys(self, name, keys):
        path = self.folder / f"{name}.keys"
        path.write_text("\n".join(keys) + "\n")
        return path

    def start_provider(self):
        self.provider = f"127.0.0.1:{free_port()}"
        self.start(ENDS_CORE, [self.binaries / "load", "provider", "--listen", self.provider])
        wait_until(lambda: connect(self.provider))
        return Contender("direct", self.provider, self.write_keys("direct", ["sk-none"]))

    def start_nginx(self, name="nginx"):
        address, config = f"127.0.0.1:{free_port()}", self.folder / f"{name}.conf"
        config.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {self.folder}/{name}.pid; error_log stderr;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {self.folder}; proxy_temp_path {self.folder};
  fastcgi_temp_path {self.folder}; uwsgi_temp_path {self.folder}; scgi_temp_path {self.folder};
  keepalive_requests 100000000; client_max_body_size 10m; client_body_buffer_size 1m;
  upstream provider {{ server {self.provider}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header connection "";
      proxy_set_header authorization "Bearer sk-provider"; proxy_buffering off;
    }}
  }}
}}
""")
        pid = self.start(GATEWAY_CORE, [shutil.which("nginx") or "/usr/sbin/nginx", "-c", config])
        wait_until(lambda: connect(address))
        return Contender("nginx", address, self.write_keys("nginx", ["sk-none"]), pid)

    def start_postgres(self):
        """A cluster of its own that writes durably; its URL and its process."""
        folder, port = Path(tempfile.mkdtemp(prefix="postgres-", dir=self.folder)), free_port()
        as_user = None
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            as_user = "postgres"
            shutil.chown(folder, as_user, pwd.getpwnam(as_user).pw_gid)
        made = subprocess.run(
            [self.postgres / "initdb", "-D", folder / "data", "--username=postgres", "--auth=trust"],
            user=as_user, cwd=folder, capture_output=True, text=True)
        if made.returncode:
            sys.exit(f"making a PostgreSQL cluster: {made.stderr}")
        command = [self.postgres / "postgres", "-D", folder / "data", "-p", port, "-h", "127.0.0.1", "-k", folder]
        if (self.postgres.parent / "lib/pg_stat_statements.so").exists():
            command += ["-c", "shared_preload_libraries=pg_stat_statements"]
        pid = self.start(ENDS_CORE, command, as_user=as_user, folder=folder)
        wait_until(lambda: connect(f"127.0.0.1:{port}"))
        return f"postgres://postgres@127.0.0.1:{port}/postgres", pid

    def gateway(self, name, database):
        return Gateway(self, name, database)

    def load(self, kind, contender, *options):
        """What the generator of calls tells of one run."""
        headers = [option for header in contender.headers for option in ("--header", header)]
        command = ["taskset", "-c", ENDS_CORE, self.binaries / "load", kind, "--address", contender.address,
                   "--keys", contender.keys, *headers, *options]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            raise CallsFailed(f"{contender.name}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def answered(self, kind, contender, *options):
        """A run in which each call is answered."""
        told = self.load(kind, contender, *options)
        if told["refused"] or not told["answered"]:
            raise CallsFailed(f"{contender.name}: calls failed, by status: {told['refused'] or 'none answered'}")
        return told

    def measure(self, kind, contender, *options):
        """The same, with the processor time that the contender took for it, to the
        end of what it writes behind."""
        before = settled_cpu_seconds(contender.pid) if contender.pid else 0
        told = self.answered(kind, contender, *options)
        told["rate"] = told["answered"] / told["seconds"]
        if contender.pid:
            time.sleep(contender.behind_s)
            told["cpu"] = settled_cpu_seconds(contender.pid) - before
            told["cpu_us"] = told["cpu"] / told["answered"] * 1e6
        return told


class Gateway:
    """Ours, with a store of its own or one that it shares."""

    def __init__(self, stage, name, database):
        self.stage, self.name = stage, name
        self.address, self.admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.master = "sk-" + secrets.token_hex(16)
        config = stage.folder / f"{name}.yaml"
        # A call of `exact` is held and charged the same: what it may answer at most,
        # which is what the provider does answer.
        config.write_text(f"""
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: "http://{stage.provider}/v1", api_key: sk-provider}}
    model_info: {{input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001}}
  - model_name: exact
    litellm_params: {{model: openai/bench, api_base: "http://{stage.provider}/v1", api_key: sk-provider}}
    model_info: {{input_cost_per_token: 0, output_cost_per_token: 0.00001}}
""")
        self.environment = dict(
            os.environ, LLM_PROXY_CONFIG=str(config), DATABASE_URL=database, LLM_PROXY_MASTER_KEY=self.master,
            LLM_PROXY_LISTEN=self.address, LLM_PROXY_ADMIN_LISTEN=self.admin, LLM_PROXY_LOG="info")

    def import_keys(self, **sets):
        """Sets of (count, limits), brought over as an operator does it, all in one
        file. Answers the keys of each set."""
        rows, keys = [], {}
        for name, (count, limits) in sets.items():
            keys[name] = ["sk-" + secrets.token_urlsafe(24) for _ in range(count)]
            for at, key in enumerate(keys[name]):
                rows.append({"token": hashlib.sha256(key.encode()).hexdigest(), "key_alias": f"{name}-{at}",
                             "key_name": f"sk-...{key[-4:]}", "models": [], "spend": 0.0, **limits})
        file = self.stage.folder / f"{self.name}.keys.json"
        file.write_text(json.dumps(rows))
        done = subprocess.run([str(self.stage.binaries / "llm-proxy"), "keys", "import", str(file)],
                              env=self.environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"importing keys: {done.stderr}")
        return keys

    def spawn(self):
        self.pid = self.stage.start(GATEWAY_CORE, [self.stage.binaries / "llm-proxy", "serve"], self.environment)

    def start(self):
        self.spawn()
        url = f"http://{self.admin}/health/readiness"
        wait_until(lambda: urllib.request.urlopen(url, timeout=1).read(), 60)

    def contender(self, name, keys):
        keys = self.stage.write_keys(f"{self.name}-{name}", keys)
        behind_s = FOLDED_S if self.environment["DATABASE_URL"].startswith("sqlite") else 0
        return Contender(name, self.address, keys, self.pid, behind_s=behind_s)


def connect(address):
    host, port = address.rsplit(":", 1)
    socket.create_connection((host, int(port)), 1).close()


def settled_cpu_seconds(pid, patience=10):
    """Processor time of a process and its children once what it does behind its
    answers is done: one tick of the clock at most in a quarter of a second."""
    deadline = time.monotonic() + patience
    used = tree_cpu_seconds(pid)
    while True:
        time.sleep(0.25)
        now = tree_cpu_seconds(pid)
        if now - used < 0.015 or time.monotonic() > deadline:
            return now
        used = now
