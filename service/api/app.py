"""The application: routes under a gate, problems for every refusal, the page beside the API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy import Engine

from service.api import (
    administration,
    analyses,
    comparisons,
    datasets,
    docs,
    files,
    health,
    jobs,
    models,
    predictions,
    problems,
    replays,
    trainings,
    version_files,
)
from service.api.edge import Edge
from service.api.gate import Context, Gate
from service.api.hub import Hub
from service.api.links import PREFIX
from service.settings import Limits, Settings
from service.store.objects import ObjectStore
from service.usecases.keys import read_pepper
from service.usecases.quota import Quota

WEB = Path(__file__).parents[1] / "web"
DESCRIPTION = """Reads capsule endoscopy.
Research use. Not for diagnosis.
Every operation of the API needs a key: Authorization: Bearer ent_..."""
# Polling, health and the look-up of keys must find a connection while every route's thread holds one.
SPARE_CONNECTIONS = 2


class Application(FastAPI):
    """FastAPI with our problems in the place of its own validation error."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs") | {"Problem": problem}
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            self.openapi_schema = document
        return self.openapi_schema


def create_app(settings: Settings, engine: Engine, objects: ObjectStore, *, limits: Limits) -> FastAPI:
    """The pool of `engine` needs `api_threads` + SPARE_CONNECTIONS connections."""
    if settings.key_pepper_file is None:
        raise ValueError("ENTERON_KEY_PEPPER_FILE is not set")
    pepper = read_pepper(settings.key_pepper_file)
    app = Application(
        title="Enteron",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.context = Context(
        settings=settings,
        limits=limits,
        engine=engine,
        objects=objects,
        pepper=pepper,
        gate=Gate(engine, pepper),
        hub=Hub(engine),
        quota=Quota(limits.max_queued_jobs),
    )
    problems.install(app)
    app.add_middleware(Edge)
    # Matching walks this list: what is asked most comes first.
    rare = (replays, predictions, datasets, trainings, models, comparisons, version_files, administration)
    for module in (analyses, jobs, files, *rare):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(health.router)
    app.include_router(docs.router)
    # Served only where nothing else answers, so that a wrong method stays a 405.
    app.frontend("/", directory=WEB, fallback=None, check_dir=True)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    # More threads than connections would wait for each other.
    to_thread.current_default_thread_limiter().total_tokens = context.settings.api_threads
    yield
    await context.hub.close()
