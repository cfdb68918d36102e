"""Another champion takes over at the next job: no restart, and never two versions in one job."""

from collections.abc import Iterator

import pytest

from service.embedded import Embedded
from service.usecases import registry
from tests.analysis_site import MODEL, Analyses, flip
from tests.databases import cloned
from tests.prediction_site import FRAMES, prediction_site

pytestmark = [pytest.mark.integration, pytest.mark.slow]

OTHER_ARCHITECTURE = {
    "builder": {"name": "lesion-detector", "params": {"backbone": "resnet10", "backbone_params": {}}}
}


@pytest.fixture(scope="module")
def site(servers: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analyses]:
    for database in cloned(servers):
        with prediction_site(database, tmp_path_factory.mktemp("site")) as site:
            yield Analyses(site)


def runner_pid(site: Analyses) -> int:
    process = site.slot.runners.take(fresh=False)
    site.slot.runners.give_back(process, reuse=True)
    return process.pid


def test_a_promotion_in_the_middle_of_a_job_is_for_the_next_one(
    site: Analyses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.usecases.analyses.BLOCK_FRAMES", 3)
    site.promote_if_needed(1)
    second = site.another_version()
    running, job_id = site.submit(site.archive())
    waiting, waiting_job = site.submit(site.pictures(1))
    pid = runner_pid(site)

    site.slot.after_block(1, lambda: site.promote(second))
    site.read(job_id)
    assert site.champion() == second
    result = site.bench.view(job_id).result
    assert result["frames"] >= FRAMES
    assert site.versions_of(running) == {1}

    next_, next_job = site.submit(site.pictures(1))
    site.read(waiting_job, next_job)
    assert site.versions_of(waiting) == {1}  # it was submitted before, for the champion of then
    assert site.versions_of(next_) == {second}
    assert runner_pid(site) == pid
    assert {site.replay(analysis)["identical"] for analysis in (running, waiting, next_)} == {True}


def test_going_back_is_for_the_next_job_too(site: Analyses) -> None:
    site.promote_if_needed(1)
    site.promote(site.another_version())
    with site.bench.api() as session:
        registry.rollback(session, site.bench.person, MODEL, "champion", reason="test")
    analysis_id, job_id = site.submit(site.pictures(1))
    site.read(job_id)
    assert site.versions_of(analysis_id) == {1}


@pytest.mark.parametrize("damage", ["one bit of the weights", "weights of another architecture"])
def test_a_version_that_cannot_be_loaded_fails_its_own_jobs_alone(site: Analyses, damage: str) -> None:
    site.promote_if_needed(1)
    if damage == "one bit of the weights":
        key, code = "tampered", "object_corrupt"
        broken = site.another_version(key=key, width=0.1875)
        flip(site.path(key))
    else:
        broken, code = site.another_version(**OTHER_ARCHITECTURE), "weights_mismatch"
    analysis_id, job_id = site.submit(site.pictures(2), model=f"{MODEL}:{broken}")
    good, good_job = site.submit(site.pictures(2))
    site.read(job_id, good_job)
    row = site.bench.row(job_id)
    assert (row.state, row.error_code) == ("failed", code)
    assert len(row.error_detail) > len("It failed.")
    assert site.rows("SELECT 1 FROM analysis_frame WHERE analysis_id = :id", id=analysis_id) == []
    assert site.champion() == 1
    assert site.versions_of(good) == {1}


def test_weights_that_are_whole_again_are_read(site: Analyses) -> None:
    """What was refused has left nothing on the worker's disk."""
    site.promote_if_needed(1)
    mended = site.another_version(key="mended", width=0.25)
    flip(site.path("mended"))
    for expected in ("failed", "succeeded"):
        analysis_id, job_id = site.submit(site.pictures(1), model=f"{MODEL}:{mended}")
        site.read(job_id)
        assert site.bench.row(job_id).state == expected
        flip(site.path("mended"))
    assert site.versions_of(analysis_id) == {mended}
