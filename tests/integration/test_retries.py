"""Ended work tried again: what was committed stays, the rest is done once, and one result comes of it."""

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import text

from service.domain import media
from service.domain.errors import InvalidTransition
from service.domain.ids import new_id
from service.domain.imaging import FrameReading
from service.domain.jobs import Kind, State
from service.embedded import Embedded
from service.store import claims, findings, ingests, versions
from service.store.claims import Claim
from service.store.files import NewFile
from service.store.ingests import StoredObject
from service.store.versions import NewVersion
from service.usecases import analyses, datasets, files, jobs, predictions, retries
from service.usecases.analyses import Part
from service.usecases.jobs import JobView
from tests.databases import Database, cloned
from tests.job_bench import Bench

pytestmark = pytest.mark.integration

FRAMES, BLOCKS = 6, 3
SPEC = {
    "task": "image-multilabel",
    "code_version": "0",
    "calibration": {},
    "operating_points": {"balanced": {}},
    "default_operating_point": "balanced",
}


@pytest.fixture(scope="module")
def clone(servers: Embedded) -> Iterator[Database]:
    yield from cloned(servers)


@pytest.fixture
def bench(clone: Database) -> Bench:
    bench = Bench(clone)
    bench.new_tenant()
    return bench


def retry(bench: Bench, job_id: UUID) -> JobView:
    with bench.api() as session:
        return retries.retry(session, bench.person, job_id, max_queued=100)


def start(bench: Bench, job_id: UUID) -> Claim:
    bench.dispatch()
    (claim,) = bench.claim(job_id)
    return claim


def fail(bench: Bench, claim: Claim) -> None:
    with bench.worker(claim) as session:
        assert claims.fail(session, claim, code="it_broke", detail="")


def new_file(media_type: str = "image/png") -> NewFile:
    return NewFile(new_id(), f"t/files/{new_id()}", "0" * 64, 1, media_type)


def register(bench: Bench, **made_by: UUID) -> versions.Registered:
    new = NewVersion("lesion-detector", SPEC, {}, f"t/files/{new_id()}", "0" * 64, 1, **made_by)
    with bench.api() as session:
        return versions.register(session, tenant_id=bench.person.tenant_id, new=new)


def submit_analysis(bench: Bench) -> analyses.Submitted:
    version = register(bench)
    with bench.api() as session:
        return analyses.submit(
            session,
            bench.person,
            parts=[Part(new_file(), f"{number}.png") for number in range(FRAMES)],
            model=f"{version.name}:{version.version}",
            operating_point=None,
            max_queued=None,
        )


def read_block(bench: Bench, claim: Claim, block: int) -> None:
    """What a worker commits of one block of two frames."""
    with bench.worker(claim) as session:
        task = findings.load_task(session, UUID(claim.spec["analysis_id"]))
        claims.insert_block(session, claim, block=block, items=2, object_key=None, sha256=None)
        readings = [
            FrameReading(2 * block + place, "f", "0" * 64, 1, "image/png", None, error_code="corrupt")
            for place in range(2)
        ]
        findings.insert_readings(session, readings, tenant_id=claim.tenant_id, task=task, fence=claim.fence)
        assert claims.accept(session, claim)


def test_an_analysis_goes_on_with_the_frames_that_are_missing(bench: Bench) -> None:
    made = submit_analysis(bench)
    first = start(bench, made.job.id)
    read_block(bench, first, 0)
    with bench.api() as session:
        jobs.cancel(session, bench.person, made.job.id)
    with bench.worker(first) as session:
        assert claims.retry(session, first, delay_s=0) == "cancelled"

    again = retry(bench, made.job.id)
    second = start(bench, again.id)
    with bench.worker(second) as session:
        missing = claims.missing_blocks(session, second, BLOCKS)
    assert missing == [1, 2]
    for block in missing:
        read_block(bench, second, block)
    with bench.worker(second) as session:
        assert claims.missing_blocks(session, second, BLOCKS) == []
    assert bench.finish(second)

    with bench.api() as session:
        seen = analyses.get(session, bench.person, made.analysis_id)
        frames = analyses.frames(session, bench.person, made.analysis_id, limit=100, after=None)
    assert (seen.job.id, seen.job.state, seen.counts["frames"]) == (again.id, State.SUCCEEDED, FRAMES)
    assert [view.frame.ordinal for view in frames] == list(range(FRAMES))


def test_the_worker_of_the_ended_job_can_write_nothing_more(bench: Bench) -> None:
    made = submit_analysis(bench)
    first = start(bench, made.job.id)
    fail(bench, first)
    second = start(bench, retry(bench, made.job.id).id)
    with pytest.raises(AssertionError):
        read_block(bench, first, 0)
    read_block(bench, second, 0)


def test_an_ingest_that_is_tried_again_ends_with_one_ready_dataset(bench: Bench) -> None:
    with bench.api() as session:
        file = files.add(session, bench.person, new_file(media.ARCHIVE))
        made = datasets.create(
            session,
            bench.person,
            name="d",
            kind="frames",
            format="plain",
            file_ids=[file.id],
            options={},
            max_queued=100,
        )
    fail(bench, start(bench, made.job.id))
    assert states(bench) == ["refused"]
    claim = start(bench, retry(bench, made.job.id).id)
    assert states(bench) == ["ingesting"]
    with bench.worker(claim) as session:
        objects = {"index": StoredObject("t/jobs/a", "0" * 64, 1)}
        ingests.accept(session, made.dataset.id, fingerprint="f", objects=objects, report={})
        claims.insert_result(session, claim, {})
        assert claims.succeed(session, claim)
    assert states(bench) == ["ready"]


def states(bench: Bench) -> list[str]:
    with bench.api() as session:
        return [
            dataset.state
            for dataset in datasets.list_datasets(session, bench.person, limit=10, before_id=None)
        ]


def test_a_training_that_is_tried_again_makes_one_version(bench: Bench) -> None:
    job_id = bench.submit(kind=Kind.TRAINING)
    fail(bench, start(bench, job_id))
    claim = start(bench, retry(bench, job_id).id)
    new = NewVersion("m", SPEC, {}, "t/jobs/w", "0" * 64, 1, job_id=claim.id)
    with bench.worker(claim) as session:
        versions.register(session, tenant_id=claim.tenant_id, new=new)
        claims.insert_result(session, claim, {})
        assert claims.succeed(session, claim)
    with bench.api() as session:
        found = session.execute(text("SELECT version, job_id FROM model_version")).all()
    assert [tuple(row) for row in found] == [(1, claim.id)]


def test_a_prediction_that_is_tried_again_shows_its_new_job(bench: Bench) -> None:
    version = register(bench)
    with bench.api() as session:
        file = files.add(session, bench.person, new_file())
        made = predictions.submit(
            session,
            bench.person,
            model=f"{version.name}:{version.version}",
            file_id=file.id,
            dataset_id=None,
            max_queued=100,
        )
    fail(bench, start(bench, made.job.id))
    again = retry(bench, made.job.id)
    with bench.api() as session:
        assert predictions.get(session, bench.person, made.prediction_id).job.id == again.id


def test_of_two_retries_at_once_one_is_refused(bench: Bench) -> None:
    job_id = bench.submit()
    fail(bench, start(bench, job_id))
    ends: list[str] = []

    def ask() -> None:
        try:
            retry(bench, job_id)
            ends.append("made")
        except InvalidTransition:
            ends.append("refused")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["made", "refused", "refused", "refused"]


def test_what_ended_a_worker_does_not_share_a_claim_when_it_is_tried_again(bench: Bench) -> None:
    job_id = bench.submit(batch_key="shared")
    fail(bench, start(bench, job_id))
    again = retry(bench, job_id)
    assert bench.row(again.id).batch_key == str(again.id)


def test_a_part_of_a_family_is_not_tried_again_by_itself(bench: Bench) -> None:
    parent = bench.submit(state=State.WAITING)
    child = bench.submit(parent_id=parent)
    with bench.api() as session:
        jobs.cancel(session, bench.person, parent)
    for job_id in (parent, child):
        with pytest.raises(InvalidTransition):
            retry(bench, job_id)
