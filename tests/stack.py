"""The real stack for the fault tests: servers of one's own, a dispatcher and workers as processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from service.domain.access import Principal, Role
from service.domain.errors import Unavailable
from service.domain.ids import DEFAULT_TENANT_ID, new_id
from service.domain.jobs import Kind, Queue, State
from service.embedded import Embedded
from service.store.session import connect, unit_of_work
from service.usecases import jobs
from tests.databases import add_principal

ROOT = Path(__file__).parents[1]
# Short, so that a test of an outage takes seconds; the proportions are those of real ones.
TIMERS = {
    "LEASE_S": "2",
    "REAP_EVERY_S": "0.3",
    "REDISPATCH_S": "2",
    "CANCEL_GRACE_S": "1",
    "DRAIN_GRACE_S": "5",
}
PATIENCE_S = 60.0


class Stack:
    """Starts and breaks the parts; every process is remembered and ended."""

    def __init__(self, servers: Embedded, folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.api = connect(
            servers.database_url("api"), password_file=servers.password_file("api"), application="test-api"
        )
        self.person = Principal(new_id(), DEFAULT_TENANT_ID, frozenset({Role.CLINICIAN}))
        with self.session() as session:
            add_principal(session, self.person)

    @contextmanager
    def session(self) -> Iterator[Session]:
        with unit_of_work(self.api, tenant_id=DEFAULT_TENANT_ID, principal_id=self.person.id) as session:
            yield session

    def start(self, module: str, *arguments: str, role: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{module}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "service.attached", str(os.getpid()), "0", module, *arguments],
                env=self.environment(role),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        """One that lives: starting costs seconds, so what a test has left alive serves the next."""
        return self.workers(1)[0]

    def workers(self, count: int) -> list[subprocess.Popen[bytes]]:
        arguments = ["--cold", "--queues", "interactive,batch"]
        while len(self._alive("workers")) < count:
            self.start("workers", *arguments, role="worker")
        return self._alive("workers")[:count]

    def dispatchers(self, count: int) -> None:
        while len(self._alive("service.dispatch")) < count:
            self.start("service.dispatch", role="dispatcher")

    def no_worker(self) -> None:
        for process in self._alive("workers"):
            process.terminate()
            process.wait(timeout=PATIENCE_S)

    def _alive(self, module: str) -> list[subprocess.Popen[bytes]]:
        return [process for process in self.processes if module in process.args and process.poll() is None]

    def environment(self, role: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENTERON_")}
        own = {
            "HOME": str(self.folder / "home"),
            "DATABASE_URL": self.servers.database_url(),
            "DATABASE_PASSWORD_FILE": str(self.servers.password_file(role)),
            "REDIS_URL": self.servers.redis_url,
            "ALLOW_FAULT_INJECTION": "true",
            "LOG_LEVEL": "info",
            **TIMERS,
        }
        return kept | {f"ENTERON_{name}": value for name, value in own.items()}

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.api.dispose()
        self.redis.close()

    def submit(
        self,
        *,
        queue: Queue | None = None,
        parent_id: UUID | None = None,
        state: State = State.QUEUED,
        **spec: Any,
    ) -> UUID:
        body = {"steps": 1, "step_s": 0, **spec}
        with self.session() as session:
            return jobs.submit(
                session, self.person, Kind.SELFTEST, body, queue=queue, parent_id=parent_id, state=state
            ).id

    def view(self, job_id: UUID) -> jobs.JobView:
        with self.session() as session:
            return jobs.get(session, self.person, job_id)

    def row(self, job_id: UUID) -> Any:
        with self.session() as session:
            return session.execute(text("SELECT * FROM job WHERE id = :id"), {"id": job_id}).one()

    def cancel(self, job_id: UUID) -> jobs.JobView:
        with self.session() as session:
            return jobs.cancel(session, self.person, job_id)

    def until(self, what: Callable[[], Any]) -> Any:
        """Wait for something true; a wait that lasts too long is the failure of the test."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(Unavailable):
                if found := what():
                    return found
            time.sleep(0.02)
        raise AssertionError(f"not within {PATIENCE_S} s\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))

    def until_running(self, job_id: UUID) -> Any:
        """Until its body counts: the claim, the runner and the first report are done."""
        self.until(lambda: self.row(job_id).progress.get("done"))
        return self.row(job_id)

    def until_ended(self, *job_ids: UUID) -> list[jobs.JobView]:
        self.until(lambda: all(self.view(job_id).finished_at for job_id in job_ids))
        return [self.view(job_id) for job_id in job_ids]

    def states(self, job_id: UUID) -> list[str]:
        with self.session() as session:
            events = jobs.events(session, self.person, job_id)
        return [event.code.removeprefix("state.") for event in events if event.code.startswith("state.")]

    @cached_property
    def redis(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.servers.redis.socket))

    def runner_of(self, worker: subprocess.Popen[bytes]) -> int:
        return int(children(worker.pid)[0])

    def pulse(self) -> Mapping[str, Any]:
        """What the worker that wrote last says to its probe."""
        pulses = (self.folder / "home" / "workers").glob("*.json")
        return json.loads(max(pulses, key=lambda path: path.stat().st_mtime).read_text())

    def worker_states(self) -> list[str]:
        with self.session() as session:
            return list(session.scalars(text("SELECT state FROM worker ORDER BY started_at")))


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
