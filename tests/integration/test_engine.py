"""The engine in one process, with bodies made for the test: what becomes of a job, and of its mates."""

import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from service.domain.errors import InvalidInput, Unavailable
from service.domain.jobs import Kind, State
from service.embedded import Embedded
from service.store import claims
from service.store.objects import Stored
from service.usecases import jobs
from tests.databases import Database, cloned
from tests.job_bench import CLAIMANT, Bench
from tests.slots import BATCH_SIZE, Slot
from workers.claimed import Claimed, Outcome
from workers.interrupts import DeadlinePassed, Draining, Lost
from workers.runner_client import RunnerDied, RunnerError, RunnerStalled
from workers.sandbox_client import SandboxRefused
from workers.task import ROUNDS

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def clone(servers: Embedded) -> Iterator[Database]:
    yield from cloned(servers)


@pytest.fixture
def bench(clone: Database) -> Bench:
    bench = Bench(clone)
    bench.clear()
    return bench


@pytest.fixture
def slot(bench: Bench, tmp_path: Path) -> Iterator[Slot]:
    slot = Slot(bench, bench.database.engine("worker"), tmp_path)
    yield slot
    slot.runners.close()


def fine(_job: Claimed) -> Outcome:
    return Outcome({"steps": 1})


def raising(problem: Exception) -> Callable[[Claimed], Outcome]:
    def body(_job: Claimed) -> Outcome:
        raise problem

    return body


ENDS: dict[str, tuple[Exception, str, str | None, int, int]] = {
    # what is raised: state, code, failures, preemptions
    "drain": (Draining(), "queued", None, 0, 1),
    "deadline": (DeadlinePassed(), "failed", "deadline", 0, 0),
    "dependency": (Unavailable("Away."), "queued", None, 0, 0),
    "runner died": (RunnerDied(-9), "queued", None, 1, 0),
    "runner stalled": (RunnerStalled(), "queued", None, 1, 0),
    "disk full": (OSError(28, "No space left"), "queued", None, 1, 0),
    "memory": (MemoryError(), "queued", None, 1, 0),
    "refusal": (InvalidInput("No frames.", code="no_frames"), "failed", "no_frames", 0, 0),
    "archive refused": (SandboxRefused("damaged_zip", "the end is missing"), "failed", "damaged_zip", 0, 0),
    "runner's disk full": (RunnerError("disk_full", "The worker's disk is full."), "queued", None, 1, 0),
    "runner refused": (RunnerError("diverged", "It diverged."), "failed", "diverged", 0, 0),
    "mistake": (ZeroDivisionError(), "failed", "internal_error", 0, 0),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_a_body_raises_decides_what_becomes_of_the_job(bench: Bench, slot: Slot, name: str) -> None:
    problem, *expected = ENDS[name]
    job_id = bench.submit()
    assert slot.run(job_id, raising(problem)) == 1
    row = bench.row(job_id)
    assert [row.state, row.error_code, row.failures, row.preemptions] == expected


def test_a_cancelled_body_ends_the_job_as_cancelled(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()

    def body(job: Claimed) -> Outcome:
        cancel(bench, job_id)
        slot.heart.beat()
        job.check()
        raise AssertionError("the beat has told")

    slot.run(job_id, body)
    assert bench.row(job_id).state == "cancelled"


def test_a_cancel_that_comes_with_the_finish_wins(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()

    def body(_job: Claimed) -> Outcome:
        cancel(bench, job_id)
        return Outcome({"steps": 1})

    slot.run(job_id, body)
    assert bench.row(job_id).state == "cancelled"
    assert bench.view(job_id).result is None


def test_a_job_that_was_given_to_another_leaves_no_trace(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()
    other: list[claims.Claim] = []

    def body(job: Claimed) -> Outcome:
        bench.age(100)
        bench.reap()
        bench.age(100)
        bench.dispatch()
        other.extend(bench.claim(job_id))
        return Outcome({"by": "the stale one"}, write=lambda session: note(session, job, "stale"))

    slot.run(job_id, body)
    row = bench.row(job_id)
    assert (row.state, row.fence) == ("running", 2)
    assert bench.finish(other[0])
    assert bench.view(job_id).result == {"steps": 1}
    assert notes(bench, job_id) == []


def test_a_lost_job_hears_of_it_at_the_next_beat(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()
    heard: list[str] = []

    def body(job: Claimed) -> Outcome:
        bench.age(100)
        bench.reap()
        slot.heart.beat()
        try:
            job.progress(1, 2, "steps", "counting")
        except Lost:
            heard.append("lost")
            raise
        raise AssertionError

    slot.run(job_id, body)
    assert heard == ["lost"]
    assert bench.row(job_id).state == "queued"


def test_rows_and_result_are_written_together(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()
    slot.run(job_id, lambda job: Outcome({"n": 1}, write=lambda session: note(session, job, "kept")))
    assert bench.view(job_id).result == {"n": 1}
    assert notes(bench, job_id) == ["kept"]


def test_a_result_that_cannot_be_written_fails_the_job(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()
    slot.run(
        job_id, lambda job: Outcome({"n": float("nan")}, write=lambda session: note(session, job, "gone"))
    )
    row = bench.row(job_id)
    assert (row.state, row.error_code) == ("failed", "internal_error")
    assert notes(bench, job_id) == []


def test_a_late_job_fails_with_deadline(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit(deadline_s=0.0)
    slot.run(job_id, fine)
    row = bench.row(job_id)
    assert (row.state, row.error_code) == ("failed", "deadline")


def test_a_draining_worker_claims_nothing(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()
    slot.draining = True
    assert slot.run(job_id, fine) == 0
    assert bench.row(job_id).state == "queued"


def test_an_unknown_job_is_dropped(slot: Slot) -> None:
    assert slot.run(CLAIMANT.worker_id, fine) == 0


# Blocks and checkpoints


def in_blocks(count: int, *, dies_at: int | None = None, log: list[int]) -> Callable[[Claimed], Outcome]:
    def body(job: Claimed) -> Outcome:
        for block in sorted(set(range(count)) - job.accepted_blocks()):
            if block == dies_at:
                raise RunnerDied(-9)
            log.append(block)
            key, sha256, _ = job.put_object(f"block {block}".encode())
            write = partial(note, job=job, code="kept", number=block)
            job.commit_block(block, 8, key, sha256, write)
        return Outcome({"blocks": count}, blocks=count)

    return body


def test_a_restart_goes_on_at_the_first_missing_block(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()
    log: list[int] = []
    slot.run(job_id, in_blocks(5, dies_at=3, log=log))
    assert bench.row(job_id).failures == 1
    slot.run(job_id, in_blocks(5, log=log))
    assert log == [0, 1, 2, 3, 4]
    assert bench.view(job_id).state == State.SUCCEEDED
    assert [(block, fence) for block, fence in blocks(bench, job_id)] == [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (4, 2),
    ]
    assert len(notes(bench, job_id)) == 5


def test_a_job_that_gets_on_never_comes_nearer_to_dead(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()
    log: list[int] = []
    for dies_at in (1, 2, 3, 4):
        slot.run(job_id, in_blocks(5, dies_at=dies_at, log=log))
        assert (bench.row(job_id).state, bench.row(job_id).failures) == ("queued", 1)
    slot.run(job_id, in_blocks(5, log=log))
    assert bench.view(job_id).state == State.SUCCEEDED
    assert log == [0, 1, 2, 3, 4]


def test_a_block_keeps_its_object_when_equal_bytes_cannot_be_stored_again(
    bench: Bench, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two equal archives make equal packs, and a bucket cannot tell whose object a failed put left."""
    job_id = bench.submit()
    keys: list[str] = []

    def failing(key: str, data: bytes) -> Stored:
        slot.objects.delete(key)
        raise Unavailable("The answer to the upload was lost.")

    def body(job: Claimed) -> Outcome:
        for block in range(2):
            key, sha256, size_bytes = job.put_object(b"equal")
            assert size_bytes == len(b"equal")
            job.commit_block(block, 1, key, sha256)
            keys.append(key)
            monkeypatch.setattr(slot.objects, "put_bytes", failing)
        return Outcome({}, blocks=2)

    slot.run(job_id, body)
    assert len(set(keys)) == 1
    assert slot.objects.get(keys[0]) == b"equal"
    assert bench.view(job_id).state == State.SUCCEEDED


def test_a_stale_worker_commits_no_block(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()

    def body(job: Claimed) -> Outcome:
        bench.age(100)
        bench.reap()
        job.commit_block(0, 8, write=lambda session: note(session, job, "stale"))
        raise AssertionError

    slot.run(job_id, body)
    assert blocks(bench, job_id) == []
    assert notes(bench, job_id) == []


def test_a_result_with_a_gap_in_its_blocks_is_refused(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()

    def body(job: Claimed) -> Outcome:
        job.commit_block(0, 8)
        job.commit_block(2, 8)
        return Outcome({}, blocks=3)

    slot.run(job_id, body)
    assert bench.row(job_id).error_code == "internal_error"


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()

    def training(job: Claimed) -> Outcome:
        for step in (1, 2, 3):
            folder = job.scratch / f"step-{step}"
            folder.mkdir()
            (folder / "state.json").write_text(json.dumps({"step": step}))
            job.save_checkpoint(folder, step=step)
        raise RunnerDied(-9)

    slot.run(job_id, training)
    kept = bench.row(job_id).checkpoint["kept"]
    assert [entry["step"] for entry in kept] == [3, 2]
    assert sorted(slot.objects.list()) == sorted(entry["object_key"] for entry in kept)
    slot.objects.put_bytes(kept[0]["object_key"], b"torn")
    resumed: list[tuple[int, str]] = []

    def again(job: Claimed) -> Outcome:
        resumed.extend((step, (folder / "state.json").read_text()) for folder, step in job.checkpoints())
        return Outcome({})

    slot.run(job_id, again)
    assert resumed == [(2, '{"step": 2}')]


def test_a_drain_in_a_checkpoint_keeps_it(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()

    def body(job: Claimed) -> Outcome:
        slot.draining = True
        job.save_checkpoint(job.scratch, step=7)
        job.check()
        raise AssertionError

    slot.run(job_id, body)
    row = bench.row(job_id)
    assert (row.state, row.preemptions, row.checkpoint["kept"][0]["step"]) == ("queued", 1, 7)


def test_the_scratch_folder_is_gone_afterwards(bench: Bench, slot: Slot) -> None:
    job_id = bench.submit()
    slot.run(job_id, lambda job: Outcome({"written": (job.scratch / "x").write_text("y")}))
    assert list((slot.folder / "scratch").iterdir()) == []


# Batches


def submit_batch(bench: Bench, count: int) -> list[UUID]:
    return [bench.submit(kind=Kind.ANALYSIS, batch_key="analysis:1") for _ in range(count)]


def test_one_bad_member_fails_alone(bench: Bench, slot: Slot) -> None:
    job_ids = submit_batch(bench, 3)
    bench.dispatch()
    sizes: list[int] = []

    def batch(jobs: list[Claimed]) -> list[Outcome | Exception]:
        sizes.append(len(jobs))
        return [
            InvalidInput("Nothing readable.", code="no_frames") if job.job_id == job_ids[1] else Outcome({})
            for job in jobs
        ]

    assert slot.engine_of(batch=batch).handle(job_ids[0]) == 3
    assert sizes == [3]
    assert [bench.row(job_id).state for job_id in job_ids] == ["succeeded", "failed", "succeeded"]


def test_results_are_not_shifted_by_a_bad_member(bench: Bench, slot: Slot) -> None:
    job_ids = submit_batch(bench, 4)
    bench.dispatch()

    def batch(jobs: list[Claimed]) -> list[Outcome | Exception]:
        return [
            InvalidInput("No.") if job.job_id == job_ids[2] else Outcome({"of": str(job.job_id)})
            for job in jobs
        ]

    slot.engine_of(batch=batch).handle(job_ids[3])
    for job_id in (job_ids[0], job_ids[1], job_ids[3]):
        assert bench.view(job_id).result == {"of": str(job_id)}


def test_only_the_member_that_kills_the_runner_pays_for_it(bench: Bench, slot: Slot) -> None:
    job_ids = submit_batch(bench, 3)
    bench.dispatch()
    runs: list[int] = []

    def batch(jobs: list[Claimed]) -> list[Outcome | Exception]:
        runs.append(len(jobs))
        fault = "crash" if job_ids[1] in {job.job_id for job in jobs} else None
        jobs[0].runner.call("selftest", {"steps": 1, "fault": fault})
        return [Outcome({}) for _ in jobs]

    slot.engine_of(batch=batch).handle(job_ids[0])
    rows = [bench.row(job_id) for job_id in job_ids]
    assert runs == [3, 1, 1, 1]
    assert [row.state for row in rows] == ["succeeded", "queued", "succeeded"]
    assert [row.failures for row in rows] == [0, 1, 0]
    assert {row.fence for row in rows} == {1}


def test_a_batch_that_answers_too_little_is_run_singly(bench: Bench, slot: Slot) -> None:
    job_ids = submit_batch(bench, 2)
    bench.dispatch()

    def batch(jobs: list[Claimed]) -> list[Outcome | Exception]:
        return [Outcome({})]

    slot.engine_of(batch=batch).handle(job_ids[0])
    assert [bench.row(job_id).state for job_id in job_ids] == ["succeeded", "succeeded"]


def test_one_message_takes_batch_after_batch_but_not_for_ever(bench: Bench, slot: Slot) -> None:
    job_ids = submit_batch(bench, (ROUNDS + 1) * BATCH_SIZE)
    bench.dispatch(batch=1000)
    done = slot.engine_of(batch=lambda jobs: [Outcome({}) for _ in jobs]).handle(job_ids[0])
    assert done == ROUNDS * BATCH_SIZE


def test_a_batch_under_a_drain_goes_back_whole(bench: Bench, slot: Slot) -> None:
    job_ids = submit_batch(bench, 2)
    bench.dispatch()

    def batch(jobs: list[Claimed]) -> list[Outcome | Exception]:
        slot.draining = True
        jobs[0].check()
        raise AssertionError

    slot.engine_of(batch=batch).handle(job_ids[0])
    rows = [bench.row(job_id) for job_id in job_ids]
    assert [(row.state, row.preemptions, row.failures) for row in rows] == [("queued", 1, 0)] * 2


# The connection breaks before or after each commit


class CutLine(psycopg.OperationalError):
    """No SQLSTATE: the server is gone."""


class Line:
    """Cuts the worker's connection at the commit of a given number."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = itertools.count(1)
        self.cut_at = 0
        self.after = False
        self._commit = engine.dialect.do_commit
        monkeypatch.setattr(engine.dialect, "do_commit", self.do_commit)

    def do_commit(self, connection: object) -> None:
        due = next(self.commits) == self.cut_at
        if due and not self.after:
            raise CutLine
        self._commit(connection)
        if due:
            raise CutLine


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_line_cut_at_any_commit_changes_no_outcome(
    bench: Bench, slot: Slot, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    line = Line(slot.engine, monkeypatch)
    line.after = after
    for cut_at in itertools.count(1):
        line.commits, line.cut_at = itertools.count(1), cut_at
        job_id = bench.submit()
        log: list[int] = []
        while bench.row(job_id).state == "queued":  # a read that was cut sends the job back
            slot.run(job_id, in_blocks(2, log=log))
        assert (bench.view(job_id).state, bench.row(job_id).failures) == (State.SUCCEEDED, 0)
        assert len(notes(bench, job_id)) == 2
        assert len(blocks(bench, job_id)) == 2
        if next(line.commits) < cut_at:
            break  # fewer commits than that: every one has been cut
    assert cut_at > 4


# What bodies leave behind


def note(session: Session, job: Claimed, code: str, number: int = 0) -> None:
    """A row of the body's own, beside the engine's."""
    session.execute(
        text("INSERT INTO job_event (tenant_id, job_id, code, fence, numbers) VALUES (:t, :j, :c, :f, :n)"),
        {
            "t": job.tenant_id,
            "j": job.job_id,
            "c": f"note.{code}",
            "f": job.fence,
            "n": json.dumps({"number": number}),
        },
    )


def notes(bench: Bench, job_id: UUID) -> list[str]:
    with bench.api() as session:
        rows = session.execute(
            text("SELECT code FROM job_event WHERE job_id = :id AND code LIKE 'note.%' ORDER BY id"),
            {"id": job_id},
        )
        return [row.code.removeprefix("note.") for row in rows]


def blocks(bench: Bench, job_id: UUID) -> list[tuple[int, int]]:
    with bench.api() as session:
        rows = session.execute(
            text("SELECT block, fence FROM job_block WHERE job_id = :id ORDER BY block"), {"id": job_id}
        )
        return [(row.block, row.fence) for row in rows]


def cancel(bench: Bench, job_id: UUID) -> None:
    with bench.api() as session:
        jobs.cancel(session, bench.person, job_id)
