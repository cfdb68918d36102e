"""The job rules in the domain, in the database and in the documents are one."""

import itertools
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.domain.jobs import FINAL, TRANSITIONS, State
from tests.databases import Database
from tests.job_bench import Bench

pytestmark = pytest.mark.integration

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"
WRONG_ROWS = [
    "state = 'paused'",
    "state = 'running'",
    "state = 'running', lease_until = now()",
    "lease_until = now()",
    "claim_token = gen_random_uuid()",
    "state = 'cancelled'",
    "finished_at = now()",
    "error_code = 'x'",
]


def test_the_database_allows_exactly_the_moves_of_the_table(db: Session) -> None:
    allowed = {(source.value, target.value) for sources, target in TRANSITIONS.values() for source in sources}
    pairs = list(itertools.product(State, State))
    rows = [
        db.scalar(text("SELECT job_may_move(:before, :after)"), {"before": before, "after": after})
        for before, after in pairs
    ]
    assert {
        (before.value, after.value) for (before, after), may in zip(pairs, rows, strict=True) if may
    } == allowed


def test_the_check_knows_exactly_the_states(db: Session) -> None:
    definition = db.scalar(
        text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ck_job_state'")
    )
    final = db.scalar(
        text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ck_job_final_has_finish'")
    )
    assert {state for state in State if f"'{state}'" in definition} == set(State)
    assert definition.count("'") == 2 * len(State)
    assert {state for state in State if f"'{state}'" in final} == FINAL


@pytest.mark.parametrize("wrong", WRONG_ROWS)
def test_a_row_that_contradicts_itself_is_refused(committed_db: Database, wrong: str) -> None:
    bench = Bench(committed_db)
    bench.submit()
    with pytest.raises(IntegrityError), bench.dispatcher() as session:
        session.execute(text("UPDATE job SET " + wrong))


def test_a_fence_never_falls(committed_db: Database) -> None:
    bench = Bench(committed_db)
    claim = bench.start()
    for fence in (claim.fence - 1, claim.fence + 1):
        with pytest.raises(IntegrityError, match="fence"), bench.dispatcher() as session:
            session.execute(text("UPDATE job SET fence = :fence"), {"fence": fence})


def test_the_documents_name_every_state() -> None:
    words = ARCHITECTURE.read_text()
    assert [state for state in State if state.value not in words] == []
