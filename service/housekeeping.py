"""Removes what nobody needs any more: answers past their lifetime, and objects that no row names.

Bytes are written before the row that names them, so only objects of more than a day are asked about. Rounds
are bounded; the listing goes on in the next round where it ended. Several copies may run: removing twice is
removing once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

import structlog
from sqlalchemy import Engine

from service.store import leftovers
from service.store.objects import Entry, ObjectStore
from service.store.session import unit_of_work

log = structlog.get_logger()

# A repeat comes within minutes of the request that it repeats.
ANSWERS_LIVE = timedelta(days=1)
ORPHANS_LIVE = timedelta(days=1)
KEYS_AT_ONCE = 500


@dataclass
class Housekeeper:
    """One round at a time."""

    engine: Engine
    objects: ObjectStore
    answers_a_round: int = 10_000
    objects_a_round: int = 10_000
    _listing: Iterator[Entry] = field(default_factory=lambda: iter(()), init=False)

    def round(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Returns how many things were removed; `stopping` is asked between steps."""
        with unit_of_work(self.engine, tenant_id=None) as session:
            answers = leftovers.forget_answers(session, older_than=ANSWERS_LIVE, at_most=self.answers_a_round)
        seen = removed = 0
        while seen < self.objects_a_round and not stopping():
            batch = self._next(min(KEYS_AT_ONCE, self.objects_a_round - seen), anew=not seen)
            if not batch:
                break
            seen += len(batch)
            removed += self._remove_orphans(batch)
        log.info("housekept", answers=answers, objects_seen=seen, objects_removed=removed)
        return answers + removed

    def _next(self, count: int, *, anew: bool) -> list[Entry]:
        """The next objects of the listing; at its end none, or with `anew` the first again."""
        batch = list(islice(self._listing, count))
        if not batch and anew:
            self._listing = self._entries()
            batch = list(islice(self._listing, count))
        return batch

    def _entries(self) -> Iterator[Entry]:
        with unit_of_work(self.engine, tenant_id=None) as session:
            tenants = leftovers.tenants(session)
        for tenant_id in tenants:
            yield from self.objects.entries(str(tenant_id))

    def _remove_orphans(self, batch: list[Entry]) -> int:
        limit = datetime.now(UTC) - ORPHANS_LIVE
        keys = [entry.key for entry in batch if entry.modified_at < limit]
        with unit_of_work(self.engine, tenant_id=None) as session:
            orphans = leftovers.orphans(session, keys)
        for key in orphans:
            self.objects.delete(key)
        return len(orphans)
