"""Instructions of a call in the gateway, counted by callgrind: the same on any
machine, whatever else it does. Run by scripts/instructions.sh.

Both ends of the gateway are here and move in lockstep, so that each frame of a
stream is read and written by itself."""

import argparse
import hashlib
import json
import os
import re
import secrets
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from measure import free_port, stop_when_told, wait_until
from stage import LIMITS

MASTER = "sk-" + secrets.token_hex(16)
FRAMES = 50
# No call has room in the last one, at any time.
KEYS = {"plain": {}, "governed": LIMITS, "refused": {"tpm_limit": 1}}
# The tasks of connections and of streams, and all that they call. The ledger's writer
# is none of them: how often it writes follows the clock, and is never twice the same.
CALLS_TASK = "app::tasks::Tasks::spawn::{{closure}}"
# What two runs of one build differ by is well below it, but for one in many.
RISE_MAX = 0.03
RUNS = 3
# The first calls make connections and fill caches.
WARM = 50
CALLS = {"plain": 1_000, "governed": 1_000, "streamed": 40, "refused": 1_000}


def answer():
    body = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000, "model": "bench",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x" * 440}}],
            "usage": {"prompt_tokens": 25, "completion_tokens": 64, "total_tokens": 89}}
    text = json.dumps(body)
    return f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode()


def frames():
    base = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "bench"}
    word = {**base, "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}
    usage = {**base, "choices": [], "usage": {"prompt_tokens": 25, "completion_tokens": 99, "total_tokens": 124}}
    return [f"data: {text}\n\n" for text in [json.dumps(word)] * FRAMES + [json.dumps(usage), "[DONE]"]]


class Ends:
    """The caller and the provider of a gateway."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.provider = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.upstream = []

    def call_to(self, address):
        host, port = address.split(":")
        self.caller = socket.create_connection((host, int(port)))
        self.caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def requested(self):
        """The connection on which the gateway asks its provider."""
        while True:
            ready, _, _ = select.select([self.listener, *self.upstream], [], [], 60)
            if not ready:
                sys.exit("the gateway asked its provider nothing")
            for one in ready:
                if one is self.listener:
                    connection, _ = self.listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.upstream.append(connection)
                    continue
                if read_message(one) is not None:
                    return one
                self.upstream.remove(one)

    def call(self, key, streamed):
        body = json.dumps({"model": "bench", "stream": streamed, "max_tokens": 64,
                           "messages": [{"role": "user", "content": "lorem ipsum " * 8}]})
        self.caller.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())

    def plain(self, key):
        self.call(key, False)
        self.requested().sendall(answer())
        return status(read_message(self.caller))

    def streamed(self, key):
        self.call(key, True)
        upstream = self.requested()
        upstream.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        seen = b""
        for frame in frames():
            last = b"0\r\n\r\n" if "[DONE]" in frame else b""
            upstream.sendall(f"{len(frame):x}\r\n{frame}\r\n".encode() + last)
            # The frame with the usage is for the gateway alone.
            wanted = b"" if "prompt_tokens" in frame else frame.encode() + b"\r\n" + last
            while not seen.endswith(wanted):
                seen += self.caller.recv(65_536)
        return status(seen)

    def refused(self, key):
        self.call(key, False)
        return status(read_message(self.caller))


def read_message(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            return None
        data += part
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    while len(body) < length:
        body += connection.recv(65_536)
    return data


def status(message):
    return int(message.split(b" ", 2)[1])


class Gateway:
    def __init__(self, binary, provider, folder):
        self.binary, self.folder, self.port = binary, folder, free_port()
        config = folder / "config.yaml"
        config.write_text(f"""
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: "http://{provider}/v1", api_key: sk-provider}}
    model_info: {{input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001}}
""")
        self.environment = dict(
            os.environ, LLM_PROXY_CONFIG=str(config), DATABASE_URL=f"sqlite://{folder}/bench.db",
            LLM_PROXY_MASTER_KEY=MASTER, LLM_PROXY_LISTEN=f"127.0.0.1:{self.port}", LLM_PROXY_LOG="info",
            # Who wakes whom on several threads is never twice the same.
            TOKIO_WORKER_THREADS="1")

    def import_keys(self, keys):
        self.keys, rows = {}, []
        for name, limits in keys.items():
            key = self.keys[name] = "sk-" + secrets.token_urlsafe(24)
            rows.append({"token": hashlib.sha256(key.encode()).hexdigest(), "key_alias": name,
                         "key_name": f"sk-...{key[-4:]}", "models": [], "spend": 0.0, **limits})
        file = self.folder / "keys.json"
        file.write_text(json.dumps(rows))
        subprocess.run([str(self.binary), "keys", "import", str(file)], env=self.environment, check=True,
                       stdout=subprocess.DEVNULL)

    def start(self):
        self.dumps = 0
        self.log = open(self.folder / "gateway.log", "w")
        self.process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.folder}/callgrind.out", str(self.binary), "serve"],
            env=self.environment, stdout=self.log, stderr=self.log)
        wait_until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/readiness", timeout=9).read())

    def dumped(self):
        """Callgrind's file of what has run since this was asked last."""
        self.dumps += 1
        file = self.folder / f"callgrind.out.{self.dumps}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["callgrind_control", "-d", str(self.process.pid)], check=True, **quiet)
        deadline = time.monotonic() + 60
        while not (file.exists() and "totals: " in file.read_text()):
            if time.monotonic() > deadline:
                sys.exit("callgrind wrote no figures")
            time.sleep(0.02)
        return file

    def counted(self):
        """Instructions of calls since this was asked last."""
        file = self.dumped()
        table = subprocess.check_output(["callgrind_annotate", "--inclusive=yes", str(file)], text=True)
        found = re.search(rf"^\s*([\d,]+) .*{re.escape(CALLS_TASK)}", table, re.M)
        if not found:
            sys.exit(f"{CALLS_TASK} is not in the figures: was its name changed, or the binary stripped?")
        return int(found[1].replace(",", ""))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


def measure(binary, folder):
    ends = Ends()
    gateway = Gateway(binary, ends.provider, folder)
    gateway.import_keys(KEYS)
    gateway.start()
    figures = {}
    try:
        ends.call_to(f"127.0.0.1:{gateway.port}")
        for name, calls in CALLS.items():
            key = gateway.keys["plain" if name == "streamed" else name]
            one = {"streamed": ends.streamed, "refused": ends.refused}.get(name, ends.plain)
            wanted = 429 if name == "refused" else 200
            for at in range(min(WARM, calls)):
                found = one(key)
                if found != wanted:
                    sys.exit(f"{name}: call {at} was answered {found}")
            gateway.counted()
            for _ in range(calls):
                one(key)
            figures[name] = round(gateway.counted() / calls)
    finally:
        gateway.stop()
    return figures


def own_folder(folder, name):
    own = folder / name
    own.mkdir(exist_ok=True, parents=True)
    return own


def compare(found, committed):
    """Prints the change of each figure; the names of those that rose too far."""
    risen = []
    for name, count in found.items():
        before = committed.get(name)
        change = count / before - 1 if before else 0
        told = f"{change:+.1%}" if before else "new"
        print(f"{name:10}{count:12,}{before or 0:12,}  {told}")
        if change > RISE_MAX:
            risen.append(name)
    return risen


def main():
    stop_when_told()
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--profile", type=Path, help="a folder that keeps callgrind's own files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        folder = arguments.profile or Path(folder)
        runs = [measure(arguments.bin.resolve(), own_folder(folder, str(run))) for run in range(RUNS)]
    found = {name: statistics.median(run[name] for run in runs) for name in CALLS}
    committed = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    if not committed and not arguments.write:
        print(f"nothing to compare with: --write makes {arguments.json}", file=sys.stderr)
    risen = compare(found, committed)
    if arguments.write:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    elif risen:
        sys.exit(f"over {RISE_MAX:.0%} more than in {arguments.json}: {', '.join(risen)}")


if __name__ == "__main__":
    main()
