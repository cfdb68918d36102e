"""How long until the first finding: from a fresh clone, and when started again; and what waiting costs.

    python -m benchmarks.start_times --out benchmarks/results/start_times.json

Clones this repository into an empty folder and runs `make run` there as a newcomer would: an own virtual
environment, installed from pip's cache (run it twice; the first run fills the cache). Then Ctrl-C, the second
starts, and half a minute of waiting in which the processor time of API and dispatcher is counted.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import environment

REPOSITORY = Path(__file__).parents[1]
FOUND = re.compile(r"^\d+ frames, \d+ with findings")
STEPS = {
    "installed": re.compile(r"^PostgreSQL and Redis run"),
    "ready": re.compile(r"^Ready to read frames"),
    "drawn": re.compile(r"^Checking them: queued"),
    "training": re.compile(r"^Training: running"),
    "trained": re.compile(r"^Measured on"),
    "first_finding": FOUND,
}
WAIT_S = 30
CLOCK_HZ = os.sysconf("SC_CLK_TCK")
PARTS = {"api": "service.cli api", "dispatcher": "service.dispatch"}


def run(folder: Path, *, then: Callable[[int], Any] = lambda pid: None) -> tuple[dict[str, float], Any]:
    """`make run` until it has found something; seconds to each step, and what `then` gives while it runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENTERON_")}
    started = time.perf_counter()
    process = subprocess.Popen(
        ["make", "run"],
        cwd=folder,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seconds: dict[str, float] = {}
    said = []
    for line in process.stdout:
        said.append(line)
        for name, pattern in STEPS.items():
            if pattern.match(line):
                seconds.setdefault(name, round(time.perf_counter() - started, 1))
        if "first_finding" in seconds:
            break
    if "first_finding" not in seconds:
        raise RuntimeError("make run ended without a finding:\n" + "".join(said[-20:]))
    # Somebody has to read on, or the parts would stand still at a full pipe.
    threading.Thread(target=process.stdout.read, daemon=True).start()
    extra = then(process.pid)
    stopping = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    return seconds | {"stop": round(time.perf_counter() - stopping, 1)}, extra


def waiting_costs(ancestor: int) -> dict[str, dict[str, float]]:
    """MB held (proportional set size) and share of one core used, by part, while nothing is asked of them."""
    time.sleep(5)
    found = {
        name: pid
        for pid, command in _descendants(ancestor)
        for name, part in PARTS.items()
        if part in command
    }
    before = {name: _cpu_s(pid) for name, pid in found.items()}
    time.sleep(WAIT_S)
    return {
        name: {"mb": round(_mb(pid), 1), "core_share": round((_cpu_s(pid) - before[name]) / WAIT_S, 4)}
        for name, pid in found.items()
    }


def _descendants(ancestor: int) -> list[tuple[int, str]]:
    """Process number and command line of all that the process started, at any depth."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            pid = int(folder.name)
            commands[pid] = (folder / "cmdline").read_text().replace("\0", " ")
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found, generation = [], {ancestor}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation}
        found += [(pid, commands[pid]) for pid in generation]
    return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_HZ


def _mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1000


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--again", type=int, default=3, help="starts after the first one")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    before = environment()
    with TemporaryDirectory() as empty:
        clone = Path(empty, "enteron")
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(clone)], check=True)
        first, idle = run(clone, then=waiting_costs)
        again = [run(clone)[0] for _ in range(chosen.again)]
    result = {
        "benchmark": "start_times",
        "environment": before,
        "fresh_clone_s": first,
        "again_s": again,
        "again_first_finding_s_median": median(run["first_finding"] for run in again),
        "waiting": idle,
        "waiting_mb": round(sum(part["mb"] for part in idle.values()), 1),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
