"""For probes and scrapers: alive, ready, and numbers. No key is asked, and nothing is told about anybody."""

from typing import Literal

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from service.api.gate import Context
from service.api.problems import content, declared
from service.domain.errors import Unavailable
from service.store import health
from service.store.session import unit_of_work

router = APIRouter(tags=["operations"])


class HealthBody(BaseModel):
    status: Literal["ok"]


@router.get("/healthz/live", response_model=HealthBody)
async def live() -> HealthBody:
    """The process answers."""
    return HealthBody(status="ok")


@router.get("/healthz/ready", response_model=HealthBody, responses={503: declared()[503]})
async def ready(request: Request) -> HealthBody:
    """The database answers and is migrated."""
    await run_in_threadpool(_look, request.app.state.context)
    return HealthBody(status="ok")


@router.get(
    "/metrics", response_class=Response, responses=content("text/plain", description="Prometheus text.")
)
async def metrics() -> Response:
    """Counts and times by route template."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _look(context: Context) -> None:
    with unit_of_work(context.engine, tenant_id=None) as session:
        if health.revision(session) is None:
            raise Unavailable("The database is not migrated.", code="not_migrated")
