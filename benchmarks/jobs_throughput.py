"""Claims and finishes a second of jobs that do nothing: what the job table alone allows.

    python -m benchmarks.jobs_throughput --out benchmarks/results/jobs_throughput.json

Four processes claim and finish under the worker's role, each job with its own claim or 32 in one; every
finish is a transaction of its own with result, history and audit rows, flushed to disk. Dispatching is
measured apart. On a busy machine the rate says little: the processor time per job, of workers and PostgreSQL
together, says what idle cores would reach.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from service.domain.access import Principal, Role
from service.domain.ids import DEFAULT_TENANT_ID, new_id
from service.domain.jobs import Kind, Queue
from service.embedded import Embedded
from service.store import claims, due
from service.store.claims import Claimant
from service.store.session import connect, unit_of_work
from service.usecases import jobs
from tests.databases import add_principal

PROCESSES = 4
BATCH = 32
QUEUE = Queue.INTERACTIVE.value


def engine(servers: Embedded, role: str):  # noqa: ANN201 - an SQLAlchemy engine
    return connect(servers.database_url(role), password_file=servers.password_file(role), application="bench")


def submit(servers: Embedded, count: int, batch_key: str | None) -> list[UUID]:
    api = engine(servers, "api")
    person = Principal(new_id(), DEFAULT_TENANT_ID, frozenset({Role.CLINICIAN}))
    with unit_of_work(api, tenant_id=person.tenant_id, principal_id=person.id) as session:
        add_principal(session, person)
        ids = [
            jobs.submit(session, person, Kind.SELFTEST, {"steps": 1}, batch_key=batch_key).id
            for _ in range(count)
        ]
    api.dispose()
    return ids


def dispatch(servers: Embedded, count: int) -> float:
    """Stamp all of them in windows of 64; returns jobs a second."""
    dispatcher = engine(servers, "dispatcher")
    started_at, sent = time.perf_counter(), 0
    while sent < count:
        with unit_of_work(dispatcher, tenant_id=None) as session:
            # What was sent before counts as outstanding: the window grows with it.
            sent += len(due.stamp_due(session, {QUEUE: sent + 64}, redispatch_s=3600))
    dispatcher.dispose()
    return count / (time.perf_counter() - started_at)


def work(home: Path, ids: Sequence[UUID], limit: int, start: Any) -> tuple[int, float]:
    """One worker: claim, finish, repeat; returns jobs done and its processor seconds."""
    worker = engine(Embedded(home), "worker")
    claimant = Claimant(new_id(), (QUEUE,), lease_s=3600)
    with unit_of_work(worker, tenant_id=None) as session:
        claims.claim(session, claimant, new_id(), token=new_id(), limit=1)  # connect before the start
    start.wait()
    done, cpu_at = 0, time.process_time()
    for job_id in ids:
        with unit_of_work(worker, tenant_id=None) as session:
            taken = claims.claim(session, claimant, job_id, token=new_id(), limit=limit)
        for claim in taken:
            with unit_of_work(worker, tenant_id=claim.tenant_id, principal_id=claim.principal_id) as session:
                claims.insert_result(session, claim, {"steps": 1})
                done += claims.succeed(session, claim)
    cpu_s = time.process_time() - cpu_at
    worker.dispose()
    return done, cpu_s


def postgres_cpu_s(servers: Embedded) -> float:
    """Of the server and of its backends, ended ones included."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                ours = (entry / "cwd").resolve() == servers.postgres.data
            except OSError:
                continue  # it has just ended, and its parent counts it
            ticks += sum(map(int, fields[11:15])) if ours else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(servers: Embedded, count: int, limit: int) -> dict[str, float]:
    ids = submit(servers, count, "bench" if limit > 1 else None)
    dispatched = dispatch(servers, count)
    context = get_context("spawn")
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        start = manager.Event()
        parts = [
            pool.apply_async(work, (servers.home, ids[number::PROCESSES], limit, start))
            for number in range(PROCESSES)
        ]
        time.sleep(3)  # imports and connections
        started_at, postgres_at = time.perf_counter(), postgres_cpu_s(servers)
        start.set()
        answers = [part.get() for part in parts]
        seconds = time.perf_counter() - started_at
        cpu_s = sum(cpu for _, cpu in answers) + postgres_cpu_s(servers) - postgres_at
    assert sum(done for done, _ in answers) == count
    return {
        "claim_finish_per_s": count / seconds,
        "cpu_ms_per_job": 1000 * cpu_s / count,
        "two_idle_cores_per_s": 2 * count / cpu_s,
        "dispatch_per_s": dispatched,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="enteron-bench-") as folder:
        servers = Embedded(Path(folder))
        servers.start()
        try:
            servers.prepare_database()
            rounds = [
                {f"batch_{limit}": measure(servers, arguments.jobs, limit) for limit in (1, BATCH)}
                for _ in range(arguments.rounds)
            ]
        finally:
            servers.kill()
    report = {
        "what": "jobs per second, four processes",
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "jobs": arguments.jobs,
        "median": {
            batch: {name: round(median(r[batch][name] for r in rounds), 1) for name in rounds[0][batch]}
            for batch in rounds[0]
        },
        "rounds": rounds,
        "load_average": os.getloadavg(),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
