"""Where the processor time of a call goes: perf's samples by what they were taken
in, and the system calls of a call. Needs a build with names and frame pointers."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter

from calls import start_ours
from report import Row

CONNECTIONS = 64
# By the first that fits: of the kernel any function on the way to the sample, of
# everything else the innermost one that is not the language's own.
KERNEL = (
    ("kernel: waking the other end", r"sock_def_readable"),
    ("kernel: TCP and sockets", r"tcp_|sock_|inet_|sys_recv|sys_send|net_rx"),
    ("kernel: disk", r"ext4|xfs|btrfs|fsync|pwrite|pread|blk_|virtblk|vring|bio_"),
    ("kernel: waiting and switching", r"epoll|futex|schedule|ep_poll|finish_task_switch|nanosleep|eventfd"),
    ("kernel: the rest", r""),
)
OURS = (
    ("SQLite and its driver", r"sqlite|sqlx|^btree|^vdbe|^pager|^pcache|^wal|balance_nonroot"),
    ("ledger and store", r"llm_proxy::(ledger|store)"),
    ("the call itself", r"llm_proxy"),
    ("JSON", r"serde"),
    ("HTTP", r"hyper|http|axum|tower|bytes::"),
    ("runtime", r"tokio|mio::|futures"),
    ("allocator, copies, the rest", r""),
)
NGINX = (("its own code", r""),)
SYSTEM_CALLS = "system calls"
GOES_TO = [name for name, _ in (*KERNEL, *OURS)]
ROWS = [
    *(Row("", f"{name} (µs), governed beside plain", (name, "governed"), (name, "plain")) for name in GOES_TO),
    *(Row("", f"{name} (µs), nginx", (name, "nginx")) for name, _ in (*KERNEL, *NGINX)),
    *(Row("", f"{SYSTEM_CALLS}, {who}", (SYSTEM_CALLS, who)) for who in ("plain", "governed", "nginx")),
]
LANGUAGE = re.compile(r"^(<?(core|alloc|std)::|<?\(|_?_?(libc_)?(malloc|free|calloc|realloc|cfree)|_int_|mem(cpy|move|cmp|set)"
                      r"|__mem|unlink_chunk|malloc_consolidate|__vdso|\[unknown\])")


def run(stage, figures, rounds, seconds):
    for tool in ("perf", "strace"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing")
    stage.start_provider()
    nginx, (plain, governed) = stage.start_nginx(), start_ours(stage, "profile")
    for _ in figures.rounds(rounds):
        for contender, own in ((nginx, NGINX), (plain, OURS), (governed, OURS)):
            cpu_us = measure(stage, contender, seconds)["cpu_us"]
            samples = profiled(stage, contender, seconds, own)
            for name, _ in (*KERNEL, *own):
                figures.add(name, contender.name, samples[name] / samples.total() * cpu_us)
            figures.add(SYSTEM_CALLS, contender.name, system_calls(stage, contender, seconds))


def measure(stage, contender, seconds):
    return stage.measure("closed", contender, "--connections", CONNECTIONS, "--seconds", seconds)


def beside(command, stage, contender, seconds):
    """What a run of calls tells while `command` watches, and what that one says."""
    watching = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        told = measure(stage, contender, seconds)
    finally:
        watching.send_signal(2)
        said = watching.communicate()[1]
    return told, said


def profiled(stage, contender, seconds, own):
    """Samples by what they were taken in."""
    data = stage.folder / "perf.data"
    beside(["perf", "record", "-q", "-F", "2000", "-g", "-o", data, "-p", str(contender.pid)], stage, contender, seconds)
    script = subprocess.run(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], capture_output=True, text=True)
    samples = Counter()
    for sample in script.stdout.split("\n\n"):
        lines = sample.strip().splitlines()
        if len(lines) > 1:
            samples[place(lines[0], [frame(line) for line in lines[1:]], own)] += 1
    return samples


def frame(line):
    """A function and whether it is the kernel's."""
    match = re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line)
    return (match[1], "kernel" in match[2]) if match else ("[unknown]", False)


def place(thread, frames, own):
    if frames[0][1]:
        way = " ".join(name for name, is_kernel in frames if is_kernel)
        return first_fitting(KERNEL, way)
    if "sqlx-sqlite" in thread and own is OURS:
        return OURS[0][0]
    names = [name for name, _ in frames if not LANGUAGE.match(name)]
    return first_fitting(own, names[0] if names else "")


def first_fitting(places, text):
    return next(place for place, pattern in places if re.search(pattern, text))


def system_calls(stage, contender, seconds):
    command = ["strace", "-f", "-c", "-q", "-p", str(contender.pid)]
    told, said = beside(command, stage, contender, seconds)
    total = re.search(r"^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total$", said, re.MULTILINE)
    return int(total[1]) / told["answered"] if total else 0
