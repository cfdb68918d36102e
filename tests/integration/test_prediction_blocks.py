"""A prediction that is drained, or whose runner is killed, goes on at its first missing block."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service.usecases import jobs, retries
from tests.databases import Database
from tests.prediction_site import BLOCK_FRAMES, BLOCKS, FRAMES, Site, prediction_site
from workers.runner_client import RunnerDied

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def site(committed_db: Database, tmp_path: Path) -> Iterator[Site]:
    with prediction_site(committed_db, tmp_path) as site:
        yield site


def drain(site: Site) -> None:
    site.slot.draining = True


def lose_runner(_site: Site) -> None:
    """As if it had died; a real kill could come when all its answers lie in the pipe already."""
    raise RunnerDied(-9)


def kill_runner(_site: Site) -> None:
    for child in psutil.Process().children(recursive=True):
        if "workers.runner" in child.cmdline():
            os.kill(child.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("source", "fault", "failures"),
    [
        ("file_id", drain, 0),
        ("file_id", kill_runner, 1),
        ("dataset_id", lose_runner, 1),
    ],
)
def test_after_a_fault_each_frame_is_predicted_once_and_no_block_twice(
    site: Site, source: str, fault, failures: int
) -> None:
    job_id = site.submit(source)
    site.slot.after_block(1, lambda: fault(site))
    site.run(job_id)
    row = site.bench.row(job_id)
    assert (row.state, row.failures) == ("queued", failures)
    before = site.blocks(job_id)
    assert [block for block, _ in before][:2] == [0, 1]
    assert len(before) < BLOCKS

    site.slot.draining = False
    site.run(job_id)
    assert site.bench.view(job_id).state == "succeeded"
    assert site.blocks(job_id) == [(n, 1 if n < len(before) else 2) for n in range(BLOCKS)]
    assert site.ordinals() == list(range(FRAMES))
    result = site.bench.view(job_id).result
    assert (result["rows"], result["errors"]) == (FRAMES, 0)


def test_a_drain_of_a_dataset_loses_and_doubles_nothing(site: Site) -> None:
    """The runner reads ahead: it may have ended before it hears that it is to stop, and either is right."""
    job_id = site.submit("dataset_id")
    site.slot.after_block(1, lambda: drain(site))
    site.run(job_id)
    assert (site.bench.row(job_id).state, site.bench.row(job_id).failures) in {
        ("queued", 0),
        ("succeeded", 0),
    }
    site.slot.draining = False
    if site.bench.row(job_id).state == "queued":
        site.run(job_id)
    assert site.bench.view(job_id).state == "succeeded"
    assert [block for block, _ in site.blocks(job_id)] == list(range(BLOCKS))
    assert site.ordinals() == list(range(FRAMES))


def test_a_cancel_between_blocks_ends_the_prediction_and_its_rows_stay_partial(site: Site) -> None:
    job_id = site.submit("file_id")

    def cancel() -> None:
        with site.bench.api() as session:
            jobs.cancel(session, site.bench.person, job_id)
        site.slot.heart.beat()

    site.slot.after_block(0, cancel)
    site.run(job_id)
    assert site.bench.view(job_id).state == "cancelled"
    assert site.ordinals() == list(range(BLOCK_FRAMES))


def test_a_cancelled_prediction_that_is_tried_again_goes_on_with_the_missing_frames(site: Site) -> None:
    job_id = site.submit("file_id")

    def cancel() -> None:
        with site.bench.api() as session:
            jobs.cancel(session, site.bench.person, job_id)
        site.slot.heart.beat()

    site.slot.after_block(0, cancel)
    site.run(job_id)
    with site.bench.api() as session:
        again = retries.retry(session, site.bench.person, job_id, max_queued=10).id
    site.run(again)
    assert site.bench.view(again).result["rows"] == FRAMES
    assert site.blocks(again) == [(n, 0 if n == 0 else 1) for n in range(BLOCKS)]
    assert site.ordinals() == list(range(FRAMES))


def test_a_prediction_whose_blocks_are_all_there_only_finishes(site: Site) -> None:
    job_id = site.submit("file_id")
    site.slot.after_block(BLOCKS - 1, lambda: drain(site))
    site.run(job_id)
    assert site.bench.row(job_id).state == "queued"
    assert len(site.blocks(job_id)) == BLOCKS

    site.slot.draining = False
    site.run(job_id)
    assert site.bench.view(job_id).result["rows"] == FRAMES
    assert {fence for _, fence in site.blocks(job_id)} == {1}


def test_a_prediction_stores_no_pictures(site: Site) -> None:
    job_id = site.submit("file_id")
    before = sorted(site.slot.objects.list())
    site.run(job_id)
    assert site.bench.view(job_id).state == "succeeded"
    assert sorted(site.slot.objects.list()) == before
