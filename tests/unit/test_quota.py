"""The quota of waiting jobs: exact when small, and never far passed when large."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import RateLimited
from service.domain.ids import new_id
from service.usecases.quota import RECOUNT_S, Quota

TENANT = new_id()


def submit(quota: Quota, queue: SimpleNamespace, tenant_id=TENANT) -> bool:
    """Whether it was taken; the queue refuses as the database does."""
    try:
        with quota.submitting(tenant_id) as limit:
            if limit is not None:
                queue.counted += 1
                if queue.waiting >= limit:
                    raise RateLimited("full")
            queue.waiting += 1
    except RateLimited:
        return False
    return True


def empty() -> SimpleNamespace:
    return SimpleNamespace(waiting=0, counted=0)


def test_a_small_quota_is_exact():
    queue, quota = empty(), Quota(2, clock=lambda: 0.0)
    assert [submit(quota, queue) for _ in range(4)] == [True, True, False, False]


def test_many_submits_of_a_moment_are_counted_once():
    queue, quota = empty(), Quota(10_000, clock=lambda: 0.0)
    assert all(submit(quota, queue) for _ in range(100))
    assert queue.counted == 1


def test_a_full_queue_refuses_every_submit():
    now = SimpleNamespace(s=0.0)
    queue, quota = empty(), Quota(1_000, clock=lambda: now.s)
    queue.waiting = 1_000
    assert not any(submit(quota, queue) for _ in range(10))


def test_tenants_are_counted_apart():
    queue, quota = empty(), Quota(10_000, clock=lambda: 0.0)
    submit(quota, queue)
    submit(quota, queue, new_id())
    assert queue.counted == 2


@given(steps=st.lists(st.floats(0, 0.2), min_size=1, max_size=300))
def test_the_limit_is_passed_by_no_more_than_half_a_second_takes(steps):
    now = SimpleNamespace(s=0.0)
    queue, quota = SimpleNamespace(waiting=990, counted=0), Quota(1_000, clock=lambda: now.s)
    times = []
    for step in steps:
        now.s += step
        if submit(quota, queue):
            times.append(now.s)
    in_half_a_second = max((sum(t <= u < t + RECOUNT_S for u in times) for t in times), default=0)
    assert queue.waiting <= 1_000 + in_half_a_second


def test_an_error_of_another_kind_frees_nothing():
    queue, quota = empty(), Quota(10_000, clock=lambda: 0.0)
    with pytest.raises(KeyError), quota.submitting(TENANT):
        raise KeyError
    submit(quota, queue)
    assert queue.counted == 1
