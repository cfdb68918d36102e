"""The same bytes, version and engine give the same bits; changed bytes and other engines are told."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from service.domain.errors import Conflict
from service.embedded import Embedded
from service.usecases import replays
from tests.analysis_site import Analyses, flip
from tests.databases import cloned
from tests.prediction_site import prediction_site

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(servers: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analyses]:
    """One for all tests: a runner takes seconds to start."""
    for database in cloned(servers):
        with prediction_site(database, tmp_path_factory.mktemp("site")) as site:
            yield Analyses(site)


def test_a_zip_read_in_blocks_comes_out_bit_for_bit(site: Analyses) -> None:
    analysis_id, job_id = site.submit(site.archive())
    site.read(job_id)
    query = "SELECT count(DISTINCT frame_ordinal), count(*) FROM finding WHERE analysis_id = :id"
    ((frames, findings),) = site.rows(query, id=analysis_id)
    found = site.replay(analysis_id)
    assert found["identical"] is True
    assert (found["largest_difference"], found["largest_map_difference"], found["tolerance"]) == (0, 0, 0)
    assert (found["frames"], found["findings"]) == (
        site.bench.view(job_id).result["frames"],
        findings,
    )
    assert frames > 20
    assert found["recorded_engines"] == [found["engine"]]
    assert (found["engine"]["engine"], found["engine"]["dtype"]) == ("torch", "float32")


def test_frames_read_with_those_of_others_come_out_alone(site: Analyses) -> None:
    """The call is made again at its size; whose frames stood beside is nobody's business."""
    submitted = [site.submit(site.pictures(count)) for count in (1, 3)]
    site.read(submitted[0][1])
    query = "SELECT read_by FROM analysis_frame WHERE analysis_id = ANY(:ids)"
    recorded = site.rows(query, ids=[analysis_id for analysis_id, _ in submitted])
    calls = [(row.read_by["call_frames"], row.read_by["call_place"]) for row in recorded]
    assert sorted(calls) == [(4, 0), (4, 1), (4, 2), (4, 3)]
    for analysis_id, _ in submitted:
        assert site.replay(analysis_id)["identical"] is True


def test_a_changed_byte_is_named_by_its_frame_and_the_others_are_compared(site: Analyses) -> None:
    parts = site.pictures(3)
    analysis_id, job_id = site.submit(parts)
    site.read(job_id)
    flip(site.path(parts[1].file.object_key))
    found = site.replay(analysis_id)
    assert (found["identical"], found["within_tolerance"]) == (False, False)
    assert (found["changed"], found["changed_frames"]) == ([1], 1)
    assert (found["differing"], found["largest_difference"]) == ([], 0)


def test_a_changed_byte_in_a_zip_is_named_too(site: Analyses) -> None:
    parts = site.archive()
    analysis_id, job_id = site.submit(parts)
    site.read(job_id)
    whole = site.path(parts[0].file.object_key)
    flip(whole, at=whole.read_bytes().index(b"\xff\xd8\xff") + 200)
    found = site.replay(analysis_id)
    assert (found["identical"], len(found["changed"]), found["differing"]) == (False, 1, [])


def test_another_engine_than_the_recorded_one_has_a_tolerance(site: Analyses) -> None:
    analysis_id, job_id = site.submit(site.pictures(2))
    site.read(job_id)
    with site.bench.database.engine("owner").begin() as connection:
        connection.execute(
            text(
                "UPDATE analysis_frame SET read_by = jsonb_set(read_by, '{engine,dtype}', '\"bfloat16\"')"
                " WHERE analysis_id = :id"
            ),
            {"id": analysis_id},
        )
    found = site.replay(analysis_id)
    assert found["tolerance"] > 0
    assert found["recorded_engines"][0]["dtype"] == "bfloat16"
    assert (found["identical"], found["within_tolerance"]) == (True, True)


def test_an_answer_that_was_changed_is_found(site: Analyses) -> None:
    analysis_id, job_id = site.submit(site.pictures(2))
    site.read(job_id)
    with site.bench.database.engine("owner").begin() as connection:
        connection.execute(text("ALTER TABLE finding DISABLE TRIGGER append_only"))
        query = "UPDATE finding SET probability = 0.25 WHERE frame_ordinal = 1 AND analysis_id = :id"
        connection.execute(text(query), {"id": analysis_id})
    found = site.replay(analysis_id)
    assert (found["identical"], found["within_tolerance"], found["differing"]) == (False, False, [1])
    assert found["largest_difference"] > 0


def test_what_was_not_read_to_its_end_cannot_be_replayed(site: Analyses) -> None:
    analysis_id, _ = site.submit(site.pictures(1))
    with site.bench.api() as session, pytest.raises(Conflict) as refused:
        replays.submit(session, site.bench.person, analysis_id, max_queued=100)
    assert refused.value.code == "not_read"


def test_bytes_that_changed_before_they_were_read_are_not_read(site: Analyses) -> None:
    parts = site.pictures(2)
    analysis_id, job_id = site.submit(parts)
    flip(site.path(parts[0].file.object_key))
    site.read(job_id)
    row = site.bench.row(job_id)
    assert (row.state, row.error_code) == ("failed", "object_corrupt")
    assert site.rows("SELECT 1 FROM finding WHERE analysis_id = :id", id=analysis_id) == []
