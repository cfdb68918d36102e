"""Removes what nobody needs any more: answers past their lifetime, and objects that no row names.

Bytes are written before the row that names them, so only objects of most of a day are asked about. Everything
is done in small steps, and several copies may run: removing twice is removing once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
# With a round every hour, what nobody names is gone within a day.
ORPHANS_LIVE = timedelta(hours=20)
ANSWERS_AT_ONCE = 10_000
KEYS_AT_ONCE = 500


@dataclass(frozen=True)
class Housekeeper:
    """One round at a time."""

    engine: Engine
    objects: ObjectStore
    answers_at_once: int = ANSWERS_AT_ONCE

    def round(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Returns how many things were removed; `stopping` is asked between steps."""
        answers = self._forget_answers(stopping)
        entries, seen, removed = self._entries(), 0, 0
        while not stopping() and (batch := list(islice(entries, KEYS_AT_ONCE))):
            seen += len(batch)
            removed += self._remove_orphans(batch)
        log.info("housekept", answers=answers, objects_seen=seen, objects_removed=removed)
        return answers + removed

    def _forget_answers(self, stopping: Callable[[], bool]) -> int:
        forgotten = 0
        while not stopping():
            with unit_of_work(self.engine, tenant_id=None) as session:
                gone = leftovers.forget_answers(
                    session, older_than=ANSWERS_LIVE, at_most=self.answers_at_once
                )
            forgotten += gone
            if gone < self.answers_at_once:
                break
        return forgotten

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
