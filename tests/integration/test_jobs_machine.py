"""The state machine finds no fault in the statements, and one in each of these mutants."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from service.embedded import Embedded
from service.store import claims, due
from tests.databases import Database, cloned
from tests.job_bench import Bench
from tests.job_machine import JobsMachine

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Nightly runs set more: 25,000 examples are a million steps.
EXAMPLES = int(os.environ.get("JOBS_MACHINE_EXAMPLES", "15"))
MUTANT_EXAMPLES = 200
STEPS = 40


@pytest.fixture(scope="module")
def database(servers: Embedded) -> Iterator[Database]:
    """Commits need not reach the disk here: no machine is switched off in these tests."""
    for database in cloned(servers):
        with database.engine("owner").begin() as connection:
            connection.execute(text(f'ALTER DATABASE "{database.name}" SET synchronous_commit = off'))
        yield database


@pytest.fixture
def machine(database: Database) -> type[JobsMachine]:
    return type("Machine", (JobsMachine,), {"bench": Bench(database)})


def run(machine: type[JobsMachine], *, examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            phases=(Phase.generate,),  # shrinking takes minutes: switch it on to study a finding
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_statements_keep_the_invariants(machine: type[JobsMachine]) -> None:
    run(machine, examples=EXAMPLES)


@dataclass(frozen=True)
class Edit:
    """A piece of one statement left out or replaced."""

    module: ModuleType
    statement: str
    old: str
    new: str = ""

    def mutated(self) -> TextClause:
        original: TextClause = getattr(self.module, self.statement)
        assert self.old in original.text, "the mutant has nothing to change any more"
        json = [bindparam("body", type_=JSONB)] if ":body" in original.text else []
        return text(original.text.replace(self.old, self.new)).bindparams(*json)


@dataclass(frozen=True)
class Unguarded:
    """Edits that the trigger of the table would refuse too: it is off for them."""

    edits: tuple[Edit, ...]


FENCED = "id = :id AND fence = :fence AND state = 'running'"
MUTANTS = {
    "finish without fence": Edit(claims, "FINISH", "fence = :fence AND "),
    "finish without state test": Unguarded(
        (Edit(claims, "FINISH", "AND fence = :fence AND state = 'running'"),)
    ),
    "finish after a cancel": Edit(claims, "FINISH", " AND cancel_requested_at IS NULL"),
    "result with the row's fence": (
        Edit(claims, "FINISH", "fence = :fence AND "),
        Edit(
            claims,
            "INSERT_RESULT",
            "VALUES (:tenant_id, :id, :fence, :body)",
            "SELECT tenant_id, id, fence, :body FROM job WHERE id = :id",
        ),
    ),
    "claim without state test": Edit(claims, "CLAIM", "j.state = 'queued' AND "),
    "claim of a running job, unguarded": Unguarded((Edit(claims, "CLAIM", "j.state = 'queued' AND "),)),
    "claim that keeps the fence": Edit(claims, "CLAIM", "fence = job.fence + 1", "fence = job.fence"),
    "lone job in a batch": Edit(claims, "CLAIM", "AND (j.id = :id OR NOT j.alone)", ""),
    "beat without fence": Edit(claims, "BEAT", "AND job.fence = held.fence"),
    "block without fence": Edit(claims, "ACCEPT", FENCED, "id = :id"),
    "drain counted as failure": Edit(
        claims, "PUT_BACK", "failures = failures + :failure,", "failures = failures + :failure + :preemption,"
    ),
    "drain blind to cancel": Edit(
        claims,
        "PUT_BACK",
        "WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'",
        "WHEN false THEN 'cancelled'",
    ),
    "no redispatch": Edit(
        due,
        "STAMP_DUE",
        "<= clock_timestamp() - make_interval(secs =>",
        "<= timestamptz 'epoch' + make_interval(secs =>",
    ),
    "no window": Edit(due, "STAMP_DUE", "w.queue, greatest(0, w.size", "w.queue, greatest(99, w.size"),
    "no reaper": Edit(due, "REAP", "lease_until < clock_timestamp()", "false"),
    "reaper before the lease ends": Edit(due, "REAP", "lease_until < clock_timestamp()", "true"),
    "reaper blind to cancel": Edit(
        due, "REAP", "WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'", "WHEN false THEN 'cancelled'"
    ),
    "failures not counted": Edit(due, "REAP", "CASE WHEN crowded THEN 0 ELSE 1 END", "0"),
    "batch mates not separated": Edit(due, "REAP", "alone = alone OR crowded", "alone = alone"),
    "parent before its children": Edit(due, "WAKE_PARENTS", "child.finished_at IS NULL", "false"),
}


@contextmanager
def living(mutant: Edit | tuple[Edit, ...] | Unguarded, database: Database) -> Iterator[None]:
    edits = mutant.edits if isinstance(mutant, Unguarded) else mutant
    with ExitStack() as stack:
        for edit in (edits,) if isinstance(edits, Edit) else edits:
            stack.enter_context(mock.patch.object(edit.module, edit.statement, edit.mutated()))
        if isinstance(mutant, Unguarded):
            _guard(database, "DISABLE")
            stack.callback(_guard, database, "ENABLE")
        yield


def _guard(database: Database, verb: str) -> None:
    with database.engine("owner").begin() as connection:
        connection.execute(text("ALTER TABLE job " + verb + " TRIGGER guard"))


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_caught(machine: type[JobsMachine], database: Database, name: str) -> None:
    # A broken invariant, or the database's own refusal; anything else is a mistake of the test.
    finding = pytest.RaisesExc((AssertionError, IntegrityError))
    with (
        living(MUTANTS[name], database),
        pytest.raises((AssertionError, IntegrityError, ExceptionGroup)) as caught,
    ):
        run(machine, examples=MUTANT_EXAMPLES)
    problems = getattr(caught.value, "exceptions", (caught.value,))
    assert all(finding.matches(problem) for problem in problems)
