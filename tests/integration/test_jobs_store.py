"""The statements of the job table against a real PostgreSQL, one rule at a time."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.domain.access import Role
from service.domain.errors import Forbidden, InvalidTransition, NotFound, RateLimited
from service.domain.ids import DEFAULT_TENANT_ID, new_id
from service.domain.jobs import Kind, State
from service.embedded import Embedded
from service.store import claims, due
from service.store.claims import Claimant
from service.usecases import jobs
from tests.databases import Database, cloned
from tests.job_bench import CLAIMANT, Bench

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def clone(servers: Embedded) -> Iterator[Database]:
    yield from cloned(servers)


@pytest.fixture
def bench(clone: Database) -> Bench:
    bench = Bench(clone)
    bench.clear()
    return bench


def test_a_job_goes_from_submit_to_result(bench: Bench) -> None:
    job_id = bench.submit()
    assert bench.view(job_id).state == State.QUEUED
    assert bench.dispatch() == [job_id]
    (claim,) = bench.claim(job_id)
    assert (claim.fence, claim.spec, claim.tenant_id) == (1, {"steps": 1}, DEFAULT_TENANT_ID)
    assert 590 < claim.deadline_in_s <= 600
    assert bench.finish(claim)
    view = bench.view(job_id)
    assert (view.state, view.result, view.attempts) == (State.SUCCEEDED, {"steps": 1}, 1)
    with bench.api() as session:
        codes = [event.code for event in jobs.events(session, bench.person, job_id)]
    assert codes == ["state.queued", "state.running", "state.succeeded"]


def test_only_a_dispatched_job_is_claimed_and_only_once(bench: Bench) -> None:
    job_id = bench.submit()
    assert bench.claim(job_id) == []
    bench.dispatch()
    assert len(bench.claim(job_id)) == 1
    assert bench.claim(job_id) == []


def test_a_message_in_a_foreign_queue_claims_nothing(bench: Bench) -> None:
    job_id = bench.submit(kind=Kind.TRAINING)
    bench.dispatch()
    with bench.worker() as session:
        other = Claimant(new_id(), ("interactive",), lease_s=30.0)
        assert claims.claim(session, other, job_id, token=new_id(), limit=1) == []


def test_a_claim_takes_the_mates_of_its_batch_key_up_to_the_limit(bench: Bench) -> None:
    mates = {bench.submit(batch_key="k") for _ in range(4)}
    other = bench.submit(batch_key="l")
    bench.dispatch()
    first = next(iter(mates))
    taken = bench.claim(first, limit=3)
    assert first in {claim.id for claim in taken}
    assert len(taken) == 3
    assert {claim.id for claim in bench.claim(first, limit=3)} == mates - {claim.id for claim in taken}
    assert [claim.id for claim in bench.claim(other, limit=3)] == [other]


def test_a_claim_whose_answer_was_lost_is_found_by_its_token(bench: Bench) -> None:
    job_id = bench.submit()
    bench.dispatch()
    token = new_id()
    with bench.worker() as session:
        taken = claims.claim(session, CLAIMANT, job_id, token=token, limit=1)
    with bench.worker() as session:
        found = claims.claimed_by(session, token)
    assert [(claim.id, claim.fence) for claim in found] == [(claim.id, claim.fence) for claim in taken]


def test_a_stale_fence_finishes_nothing(bench: Bench) -> None:
    stale = bench.start()
    bench.age(31)
    assert bench.reap() == ["queued"]
    bench.age(2)
    bench.dispatch()
    (fresh,) = bench.claim(stale.id)
    assert fresh.fence == stale.fence + 1
    assert not bench.finish(stale)
    assert bench.finish(fresh)


def test_a_beat_extends_what_is_held_and_leaves_out_what_is_lost(bench: Bench) -> None:
    held, lost = bench.start(), bench.start()
    with bench.worker() as session:
        claims.release(session, lost)
    bench.age(20)
    with bench.worker() as session:
        answer = claims.beat(session, [(held.id, held.fence), (lost.id, lost.fence)], lease_s=30.0)
    assert answer == {held.id: None}
    bench.age(20)
    assert bench.reap() == []


def test_drain_counts_a_preemption_and_no_failure(bench: Bench) -> None:
    claim = bench.start()
    with bench.worker() as session:
        assert claims.release(session, claim) == "queued"
    row = bench.row(claim.id)
    assert (row.preemptions, row.failures, row.dispatched_at) == (1, 0, None)


def test_counted_failures_end_in_dead_shown_as_gave_up(bench: Bench) -> None:
    job_id = bench.submit()
    for expected in ("queued", "queued", "dead"):
        bench.age(100)
        bench.dispatch()
        (claim,) = bench.claim(job_id)
        with bench.worker() as session:
            assert claims.count_failure(session, claim, delay_s=1, detail="It ended its runner.") == expected
    view = bench.view(job_id)
    assert view.state == State.FAILED
    assert view.error is not None
    assert (view.error.code, view.error.detail) == ("gave_up", "It ended its runner.")


def test_the_reaper_gives_up_a_lone_killer_and_separates_a_batch(bench: Bench) -> None:
    pair = [bench.submit(batch_key="k") for _ in range(2)]
    bench.dispatch()
    assert len(bench.claim(pair[0], limit=8)) == 2
    bench.age(31)
    assert bench.reap() == ["queued", "queued"]
    assert [(bench.row(id_).alone, bench.row(id_).failures) for id_ in pair] == [(True, 0), (True, 0)]
    for expected in ("queued", "queued", "dead"):
        bench.age(100)
        bench.dispatch()
        assert [claim.id for claim in bench.claim(pair[0], limit=8)] == [pair[0]]
        bench.age(31)
        assert bench.reap() == [expected]
    assert bench.row(pair[1]).state == "queued"


def test_the_reaper_cancels_what_was_to_be_cancelled(bench: Bench) -> None:
    claim = bench.start()
    with bench.api() as session:
        assert jobs.cancel(session, bench.person, claim.id).cancel_requested
    bench.age(31)
    assert bench.reap() == ["cancelled"]


@pytest.mark.parametrize("put_back", [claims.release, lambda s, c: claims.retry(s, c, delay_s=1)])
def test_whatever_puts_a_job_back_honours_its_cancel(bench: Bench, put_back) -> None:
    claim = bench.start()
    with bench.api() as session:
        jobs.cancel(session, bench.person, claim.id)
    with bench.worker() as session:
        assert put_back(session, claim) == "cancelled"


def test_no_result_is_accepted_after_a_cancel(bench: Bench) -> None:
    claim = bench.start()
    with bench.api() as session:
        jobs.cancel(session, bench.person, claim.id)
    assert not bench.finish(claim)
    with bench.worker() as session:
        assert claims.held(session, claim) == (True, True)


def test_cancel_ends_waiting_work_at_once_and_refuses_ended_work(bench: Bench) -> None:
    job_id = bench.submit()
    with bench.api() as session:
        assert jobs.cancel(session, bench.person, job_id).state == State.CANCELLED
        assert jobs.cancel(session, bench.person, job_id).state == State.CANCELLED
    claim = bench.start()
    bench.finish(claim)
    with pytest.raises(InvalidTransition), bench.api() as session:
        jobs.cancel(session, bench.person, claim.id)


def test_a_final_job_never_changes(bench: Bench) -> None:
    claim = bench.start()
    bench.finish(claim)
    with pytest.raises(IntegrityError, match="final job"), bench.dispatcher() as session:
        session.execute(text("UPDATE job SET priority = 1 WHERE id = :id"), {"id": claim.id})


def test_at_most_a_window_of_messages_is_outstanding_and_claims_make_room(bench: Bench) -> None:
    for _ in range(5):
        bench.submit()
    sent = bench.dispatch(interactive=3)
    assert len(sent) == 3
    assert bench.dispatch(interactive=3) == []
    bench.claim(sent[0])
    assert len(bench.dispatch(interactive=3)) == 1


def test_an_unanswered_message_is_sent_again(bench: Bench) -> None:
    job_id = bench.submit()
    assert bench.dispatch() == [job_id]
    assert bench.dispatch() == []
    bench.age(31)
    assert bench.dispatch() == [job_id]


def test_a_newcomer_goes_before_the_backlog_of_another_tenant(bench: Bench) -> None:
    other = bench.database.new_principal(tenant_id=bench.database.new_tenant(), roles=[Role.CLINICIAN])
    for _ in range(20):
        bench.submit()
    for job_id in bench.dispatch(interactive=4):
        bench.claim(job_id)
    late = bench.submit(other)
    assert bench.dispatch(interactive=1) == [late]


def test_priority_goes_before_turn(bench: Bench) -> None:
    bench.submit()
    urgent = bench.submit(priority=1)
    assert bench.dispatch(interactive=1) == [urgent]


def test_a_failed_publish_makes_the_row_due_again(bench: Bench) -> None:
    job_id = bench.submit()
    sent = bench.dispatch()
    with bench.dispatcher() as session:
        due.unstamp(session, sent)
    assert bench.dispatch() == [job_id]


def test_a_parent_runs_once_after_all_its_children(bench: Bench) -> None:
    with bench.api() as session:
        parent = jobs.submit(session, bench.person, Kind.SELFTEST, {}, state=State.WAITING).id
        children = [
            jobs.submit(session, bench.person, Kind.SELFTEST, {}, parent_id=parent).id for _ in range(2)
        ]
    bench.dispatch()
    for child in children:
        with bench.dispatcher() as session:
            assert due.wake_parents(session) == []
        (claim,) = bench.claim(child)
        bench.finish(claim)
    with bench.dispatcher() as session:
        assert due.wake_parents(session) == [parent]
    with bench.dispatcher() as session:
        assert due.wake_parents(session) == []


def test_cancelling_a_parent_cancels_its_children(bench: Bench) -> None:
    with bench.api() as session:
        parent = jobs.submit(session, bench.person, Kind.SELFTEST, {}, state=State.WAITING).id
        child = jobs.submit(session, bench.person, Kind.SELFTEST, {}, parent_id=parent).id
        jobs.cancel(session, bench.person, parent)
    assert bench.view(child).state == State.CANCELLED


def test_blocks_are_resumed_by_gap_and_clear_the_failures(bench: Bench) -> None:
    job_id = bench.submit()
    bench.dispatch()
    (claim,) = bench.claim(job_id)
    with bench.worker() as session:
        claims.count_failure(session, claim, delay_s=0, detail="")
    bench.dispatch()
    (claim,) = bench.claim(job_id)
    for block in (0, 2):
        with bench.worker(claim) as session:
            claims.insert_block(session, claim, block=block, items=8, object_key=None, sha256=None)
            assert claims.accept(session, claim)
    with bench.worker(claim) as session:
        assert claims.missing_blocks(session, claim, 4) == [1, 3]
        assert claims.has_block(session, claim, 2)
    assert bench.row(job_id).failures == 0


def test_metrics_and_messages_are_refused_to_a_stale_claim(bench: Bench) -> None:
    claim = bench.start()
    with bench.worker(claim) as session:
        assert claims.report_metrics(session, claim, [("loss", 1, 0.5), ("loss", 2, float("nan"))])
        assert claims.report_metrics(session, claim, [("loss", 1, 0.25)])
        assert claims.report_event(session, claim, "training", {"epoch": 1})
        assert claims.report_progress(session, claim, {"done": 1, "total": 2, "message": "training"})
    with bench.api() as session:
        assert jobs.metrics(session, bench.person, claim.id) == {"loss": [(1, 0.25), (2, None)]}
        view = jobs.get(session, bench.person, claim.id)
    assert (view.progress.fraction, view.progress.message) == (0.5, "training")
    with bench.worker(claim) as session:
        claims.release(session, claim)
        assert not claims.report_metrics(session, claim, [("loss", 3, 0.5)])
        assert not claims.report_event(session, claim, "training", {})
        assert not claims.report_progress(session, claim, {})


def test_a_full_tenant_is_refused_and_its_neighbour_is_not(bench: Bench) -> None:
    other = bench.database.new_principal(tenant_id=bench.database.new_tenant(), roles=[Role.CLINICIAN])
    bench.submit(max_queued=1)
    with pytest.raises(RateLimited):
        bench.submit(max_queued=1)
    bench.submit(other, max_queued=1)


def test_people_see_their_own_jobs_and_ops_all_of_the_tenant(bench: Bench) -> None:
    job_id = bench.submit()
    colleague = bench.database.new_principal(roles=[Role.CLINICIAN])
    ops = bench.database.new_principal(roles=[Role.OPS])
    nobody = bench.database.new_principal(roles=[])
    foreigner = bench.database.new_principal(tenant_id=bench.database.new_tenant(), roles=[Role.ADMIN])
    for stranger in (colleague, foreigner):
        with bench.api(stranger) as session:
            with pytest.raises(NotFound):
                jobs.get(session, stranger, job_id)
            assert jobs.list_jobs(session, stranger, limit=10) == []
    with bench.api(ops) as session:
        assert jobs.get(session, ops, job_id).id == job_id
    with bench.api(nobody) as session, pytest.raises(Forbidden):
        jobs.get(session, nobody, job_id)


def test_pages_go_from_new_to_old_without_gap(bench: Bench) -> None:
    submitted = [bench.submit() for _ in range(5)]
    seen, before_id = [], None
    while True:
        with bench.api() as session:
            page = jobs.list_jobs(
                session, bench.person, limit=2, before_id=before_id, kind=Kind.SELFTEST, state=State.QUEUED
            )
        seen += [view.id for view in page]
        if len(page) < 2:
            break
        before_id = page[-1].id
    assert seen == submitted[::-1]
