"""A claimed job as its body sees it: everything it may touch, each write under the fence."""

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.domain.errors import ServiceError, Unavailable
from service.domain.messages import check_message
from service.settings import Settings
from service.store import claims
from service.store.claims import Claim
from service.store.objects import ObjectStore, Stored, job_key
from service.store.session import unit_of_work
from workers.heart import NO_WAIT_FOR_DISK, Heart
from workers.interrupts import Lost
from workers.runner_client import Graces, RunnerClient, Runners

if TYPE_CHECKING:
    from workers.sandbox_client import Sandbox

log = structlog.get_logger()

Write = Callable[[Session], None]

REPORT_EVERY_S = 0.5
POINTS_AT_ONCE = 500
KEPT_CHECKPOINTS = 2
RETRY_S = 0.2


@dataclass(frozen=True)
class Outcome:
    """What a body made: the result, the rows to write with it, and of how many blocks it must consist."""

    result: Mapping[str, Any]
    write: Write | None = None
    blocks: int | None = None


Settlement = Outcome | Exception


@dataclass(frozen=True)
class Means:
    """What a worker lends to every job."""

    engine: Engine
    heart: Heart
    objects: ObjectStore
    runners: Runners
    sandbox: "Callable[[], Sandbox]"
    scratch: Path
    graces: Graces
    settings: Settings


class Claimed:
    """One job under one fence; `close` when the job is settled."""

    def __init__(self, claim: Claim, means: Means, runner: RunnerClient) -> None:
        self.claim = claim
        self.runner = runner
        self._means = means
        self._reported_at = 0.0
        self._points: list[tuple[str, int, float]] = []
        self._points_at = monotonic()
        self._put: dict[str, int] = {}  # sizes by key

    @property
    def job_id(self) -> UUID:
        return self.claim.id

    @property
    def tenant_id(self) -> UUID:
        return self.claim.tenant_id

    @property
    def principal_id(self) -> UUID:
        return self.claim.principal_id

    @property
    def kind(self) -> str:
        return self.claim.kind

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.claim.spec

    @property
    def fence(self) -> int:
        return self.claim.fence

    @property
    def attempt(self) -> int:
        return self.claim.fence

    @property
    def checkpoint(self) -> Mapping[str, Any] | None:
        return self.claim.checkpoint

    @property
    def objects(self) -> ObjectStore:
        return self._means.objects

    @property
    def settings(self) -> Settings:
        return self._means.settings

    @property
    def sandbox(self) -> "Sandbox":
        return self._means.sandbox()

    @cached_property
    def scratch(self) -> Path:
        """A private folder, gone when the job is settled."""
        return Path(tempfile.mkdtemp(dir=self._means.scratch))

    def session(self) -> AbstractContextManager[Session]:
        return unit_of_work(self._means.engine, tenant_id=self.tenant_id, principal_id=self.principal_id)

    def check(self) -> None:
        """Raises what the heartbeat knows: Cancelled, Draining, Lost or DeadlinePassed."""
        interrupt = self._means.heart.interrupt(self.claim)
        if interrupt is not None:
            raise interrupt

    def progress(self, done: int, total: int, unit: str, message_code: str) -> None:
        """Say how far the work is; now and then it is also written."""
        self.check()
        now = monotonic()
        if now - self._reported_at >= REPORT_EVERY_S or done == total:
            self._reported_at = now
            body = {"done": done, "total": total, "unit": unit, "message": check_message(message_code)}
            self._tell(lambda session: claims.report_progress(session, self.claim, body))
            self.flush()

    def metric(self, name: str, step: int, value: float) -> None:
        self._points.append((name, step, value))
        due = monotonic() - self._points_at > REPORT_EVERY_S
        if due or len(self._points) >= POINTS_AT_ONCE:
            self.flush()

    def message(self, code: str, **numbers: int | float) -> None:
        """A line in the job's history: a closed code and numbers."""
        check_message(code)
        self._tell(lambda session: claims.report_event(session, self.claim, code, numbers))

    def flush(self) -> None:
        """Write the metric points that wait; in an outage they go on waiting."""
        points, self._points_at = self._points[:], monotonic()
        if points and self._tell(lambda session: claims.report_metrics(session, self.claim, points)):
            del self._points[: len(points)]

    def relay(self, event: Mapping[str, Any]) -> None:
        """Pass on what the runner says: progress, metric, message or checkpoint."""
        match event["type"]:
            case "progress":
                self.progress(event["done"], event["total"], event["unit"], event["code"])
            case "metric":
                self.metric(event["name"], event["step"], event["value"])
            case "message":
                self.message(event["code"], **event.get("numbers", {}))
            case "checkpoint":
                self.save_checkpoint(Path(event["path"]), step=event["step"])
            case other:
                raise ValueError(f"unknown event {other!r}")

    def put_object(self, content: bytes | Path) -> tuple[str, str, int]:
        """Store under this fence; returns key, SHA-256 and size. Named in a row only by a later commit."""
        sha256 = _sha256(content)
        key = job_key(self.tenant_id, self.job_id, fence=self.fence, sha256=sha256)
        # Equal bytes have one key: to put them again could, by failing, remove what a block names already.
        if key not in self._put:
            self._put[key] = self._store(key, content).size_bytes
        return key, sha256, self._put[key]

    def _store(self, key: str, content: bytes | Path) -> Stored:
        if isinstance(content, Path):
            return self.objects.put_file(key, content)
        return self.objects.put_bytes(key, content)

    def accepted_blocks(self) -> frozenset[int]:
        """What this or an earlier attempt has committed for good."""
        with self.session() as session:
            return claims.accepted_blocks(session, self.claim)

    def commit_block(
        self,
        block: int,
        items: int,
        object_key: str | None = None,
        sha256: str | None = None,
        write: Write | None = None,
    ) -> None:
        """Accept a piece of the work for good: its rows and the block in one fenced transaction."""

        def commit(session: Session) -> bool:
            if claims.has_block(session, self.claim, block):
                return True  # the answer to an earlier commit was lost
            claims.insert_block(
                session, self.claim, block=block, items=items, object_key=object_key, sha256=sha256
            )
            if write is not None:
                write(session)
            return claims.accept(session, self.claim)

        self._insist(commit)
        self.check()

    def save_checkpoint(self, folder: Path, *, step: int) -> None:
        """Store the folder and accept it; the newest two are kept. It does not heed a drain: it ends one."""
        archive = self.scratch / "checkpoint.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(folder, arcname=".")
        key, sha256, _ = self.put_object(archive)
        archive.unlink()
        newest = {"object_key": key, "sha256": sha256, "step": step, "fence": self.fence}
        kept = [newest, *self._kept()][:KEPT_CHECKPOINTS]
        dropped = [old["object_key"] for old in self._kept() if old not in kept]
        self._insist(lambda session: claims.accept_checkpoint(session, self.claim, {"kept": kept}))
        self._checkpoints = kept
        self.message("checkpoint", step=step)
        for old_key in dropped:
            self._put.pop(old_key, None)
            self.objects.delete(old_key)

    def checkpoints(self) -> Iterator[tuple[Path, int]]:
        """Folders and steps of what was kept, newest first; one that is damaged is passed over."""
        for number, kept in enumerate(self._kept()):
            archive, folder = self.scratch / f"kept-{number}.tar", self.scratch / f"kept-{number}"
            try:
                self.objects.fetch_to(kept["object_key"], archive, expected_sha256=kept["sha256"])
            except Unavailable:
                raise
            except ServiceError as problem:
                log.warning("checkpoint_unusable", job_id=str(self.job_id), code=problem.code)
                continue
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            archive.unlink()
            yield folder, kept["step"]

    def close(self) -> None:
        if "scratch" in self.__dict__:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _kept(self) -> list[dict[str, Any]]:
        return self._checkpoints

    @cached_property
    def _checkpoints(self) -> list[dict[str, Any]]:
        return list((self.checkpoint or {}).get("kept", []))

    def _tell(self, report: Callable[[Session], bool]) -> bool:
        """A report is worth no waiting: in an outage it is left out, the heartbeat decides about the job."""
        try:
            with self.session() as session:
                session.execute(NO_WAIT_FOR_DISK)
                accepted = report(session)
        except Unavailable:
            return False
        if not accepted:
            raise Lost
        return True

    def _insist(self, commit: Callable[[Session], bool]) -> None:
        """Commit, in an outage again and again until the lease ends; a refused commit leaves no trace."""
        while True:
            try:
                with self.session() as session:
                    if not commit(session):
                        raise Lost
                return
            except Unavailable:
                if self._means.heart.good_for_s(self.claim) <= 0:
                    raise Lost from None
                sleep(RETRY_S)


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
