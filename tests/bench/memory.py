"""Memory, start and size of the gateway, with nginx's memory beside it."""

import subprocess
import threading
import time

from calls import CROWD
from measure import resident_mib, say
from report import Row
from stage import LIMITS, CallsFailed

STREAMS = 512


def alone(name, case, relation=None, target=None, who="ours"):
    return Row("R7", name, (case, who), None, relation, target)


ROWS = [
    alone("resident MiB, idle", "idle", "<=", 20),
    alone("resident MiB, after calls at c=256", "c=256"),
    alone("resident KiB a stream, 512 streams", "stream", "<=", 60),
    alone("resident KiB a stream, nginx", "stream", who="nginx"),
    alone("start to first answer, 1 key (ms)", "start"),
    alone("start to first answer, 100,000 keys (ms)", "start, crowd"),
    alone("resident MiB, 100,000 keys called", "crowd"),
    alone("binary (MiB)", "binary"),
    alone("crates in the binary", "crates"),
]


def run(stage, figures, rounds, seconds):
    stage.start_provider()
    say(f"importing {CROWD:,} keys")
    crowd = stage.gateway("crowd", f"sqlite://{stage.folder}/crowd.db")
    crowd_keys = crowd.import_keys(crowd=(CROWD, LIMITS))["crowd"]
    few = stage.gateway("few", f"sqlite://{stage.folder}/few.db")
    few_keys = few.import_keys(one=(1, LIMITS))["one"]
    figures.add("binary", "ours", (stage.binaries / "llm-proxy").stat().st_size / 2**20)
    figures.add("crates", "ours", crates())
    for _ in figures.rounds(rounds):
        figures.add("start", "ours", start_ms(stage, few, few_keys))
        contender = few.contender("one", few_keys)
        time.sleep(1)
        figures.add("idle", "ours", resident_mib(few.pid))
        stage.measure("closed", contender, "--connections", 256, "--seconds", seconds)
        figures.add("c=256", "ours", resident_mib(few.pid))
        stage.end(few.pid)

        few.start()
        figures.add("stream", "ours", kib_a_stream(stage, few.contender("one", few_keys)))
        stage.end(few.pid)
        nginx = stage.start_nginx()
        figures.add("stream", "nginx", kib_a_stream(stage, nginx))
        stage.end(nginx.pid)

        figures.add("start, crowd", "ours", start_ms(stage, crowd, crowd_keys))
        stage.end(crowd.pid)
    crowd.start()
    stage.measure("closed", crowd.contender("all", crowd_keys), "--connections", 64, "--calls", CROWD)
    figures.add("crowd", "ours", resident_mib(crowd.pid))
    return {}


def start_ms(stage, gateway, keys):
    """From exec to the end of the first call that is answered."""
    started = time.monotonic()
    gateway.spawn()
    contender = gateway.contender("first", keys[-1:])
    while True:
        try:
            if stage.load("closed", contender, "--connections", 1, "--calls", 1)["answered"]:
                return (time.monotonic() - started) * 1000
        except CallsFailed:
            pass
        if time.monotonic() - started > 60:
            raise CallsFailed("the gateway answers nothing a minute after its start")
        time.sleep(0.002)


def kib_a_stream(stage, contender):
    """What memory grows by while streams are open, once one was seen."""
    stage.measure("streams", contender, "--count", 1, "--seconds", 0.1)
    before, most, ended = resident_mib(contender.pid), 0, threading.Event()

    def watch():
        nonlocal most
        while not ended.wait(0.05):
            most = max(most, resident_mib(contender.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        stage.measure("streams", contender, "--count", STREAMS, "--seconds", 2)
    finally:
        ended.set()
        watcher.join()
    return (most - before) * 1024 / STREAMS


def crates():
    """How many crates other than ours are built into the binary."""
    listed = subprocess.check_output(
        ["cargo", "tree", "--locked", "-p", "llm-proxy", "--edges", "normal", "--prefix", "none", "--format", "{p}"], text=True)
    return len({line.removesuffix(" (*)") for line in listed.splitlines() if "(/" not in line and line})
