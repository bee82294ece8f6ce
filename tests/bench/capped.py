"""Processes that are held to a part of a core, so that several of them on one core are
as machines of their own: each does what it can with its part, and no more."""

import os
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# Short, so that a call waits little for its process's next turn.
PERIOD_US = 10_000


class NoCap(Exception):
    """This machine lets nobody make a control group here."""


@contextmanager
def capped(pids, part):
    """Each of the processes has `part` of a core and no more, until the end."""
    groups = []
    try:
        for pid in pids:
            groups.append(Group(pid, part))
        yield
    finally:
        for group in groups:
            group.end()


class Group:
    """A control group of one process, of Linux's first or second kind."""

    def __init__(self, pid, part):
        first = (ROOT / "cpu").is_dir()
        self.above = ROOT / "cpu" if first else ROOT
        self.folder = self.above / f"llm-proxy-bench-{pid}"
        quota = int(PERIOD_US * part)
        try:
            self.folder.mkdir()
            if first:
                (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self.folder / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (self.folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (self.folder / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            self.end()
            raise NoCap(f"no process can be held to a part of a core here: {error}") from error

    def end(self):
        if not self.folder.is_dir():
            return
        for pid in (self.folder / "cgroup.procs").read_text().split():
            (self.above / "cgroup.procs").write_text(pid)
        os.rmdir(self.folder)
