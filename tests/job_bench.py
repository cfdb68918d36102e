"""The job table as its three users see it, each under its own database role; time passes when told to."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.domain.access import Principal, Role
from service.domain.ids import new_id
from service.domain.jobs import Kind, Queue
from service.store import claims, due
from service.store.claims import Claim, Claimant
from service.store.session import unit_of_work
from service.usecases import jobs
from tests.databases import Database

WINDOWS = {queue.value: 8 for queue in Queue}
CLAIMANT = Claimant(new_id(), tuple(queue.value for queue in Queue), lease_s=30.0)


class Bench:
    """The three parts that touch the job table, each as its own role."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.person = database.new_principal(roles=[Role.CLINICIAN])

    @contextmanager
    def api(self, person: Principal | None = None) -> Iterator[Session]:
        person = person or self.person
        with unit_of_work(
            self.database.engine("api"), tenant_id=person.tenant_id, principal_id=person.id
        ) as session:
            yield session

    def worker(self, claim: Claim | None = None) -> AbstractContextManager[Session]:
        tenant_id = claim.tenant_id if claim else None
        return unit_of_work(self.database.engine("worker"), tenant_id=tenant_id)

    def dispatcher(self) -> AbstractContextManager[Session]:
        return unit_of_work(self.database.engine("dispatcher"), tenant_id=None)

    def submit(self, person: Principal | None = None, kind: Kind = Kind.SELFTEST, **options: Any) -> UUID:
        with self.api(person) as session:
            return jobs.submit(session, person or self.person, kind, {"steps": 1}, **options).id

    def dispatch(self, **windows: int) -> list[UUID]:
        with self.dispatcher() as session:
            return [job.id for job in due.stamp_due(session, windows or WINDOWS, redispatch_s=30.0)]

    def claim(self, job_id: UUID, limit: int = 1) -> list[Claim]:
        with self.worker() as session:
            return claims.claim(session, CLAIMANT, job_id, token=new_id(), limit=limit)

    def start(self, **options: Any) -> Claim:
        job_id = self.submit(**options)
        self.dispatch()
        (claim,) = self.claim(job_id)
        return claim

    def finish(self, claim: Claim) -> bool:
        try:
            with self.worker(claim) as session:
                claims.insert_result(session, claim, {"steps": 1})
                done = claims.succeed(session, claim)
                if not done:
                    session.rollback()
                return done
        except IntegrityError as problem:
            if "pk_job_result" in str(problem):
                return False  # another's result stands already
            raise

    def reap(self) -> list[str]:
        with self.dispatcher() as session:
            return [job.state for job in due.reap(session)]

    def view(self, job_id: UUID) -> jobs.JobView:
        with self.api() as session:
            return jobs.get(session, self.person, job_id)

    def row(self, job_id: UUID) -> Any:
        with self.dispatcher() as session:
            return session.execute(text("SELECT * FROM job WHERE id = :id"), {"id": job_id}).one()

    def new_tenant(self) -> None:
        """Work from now on for a tenant that has no jobs yet."""
        tenant_id = self.database.new_tenant()
        self.person = self.database.new_principal(tenant_id=tenant_id, roles=[Role.CLINICIAN])

    def clear(self) -> None:
        """An empty job table: cheaper than a database per test."""
        with self.database.engine("owner").begin() as connection:
            connection.execute(text("TRUNCATE job CASCADE"))

    def age(self, seconds: float) -> None:
        """Let time pass for everything that waits or runs."""
        with self.dispatcher() as session:
            session.execute(
                text("""UPDATE job SET lease_until = lease_until - make_interval(secs => :s),
                        dispatched_at = dispatched_at - make_interval(secs => :s),
                        run_after = run_after - make_interval(secs => :s)
                        WHERE finished_at IS NULL"""),
                {"s": seconds},
            )
