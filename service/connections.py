"""Engines, broker and object store as the settings name them: for composition roots only."""

from urllib.parse import quote, urlsplit, urlunsplit

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from service.domain.errors import InvalidInput
from service.settings import Role, Settings
from service.store.bootstrap import role_name
from service.store.objects import ObjectStore
from service.store.session import connect


def engine(settings: Settings, role: Role, *, pool_size: int = 5) -> Engine:
    """The role is fixed by the command, whatever the address says; the password stands in a file."""
    url = make_url(_required(settings.database_url, "DATABASE_URL")).set(username=role_name(role))
    return connect(
        url.render_as_string(hide_password=False),
        password_file=settings.database_password_file,
        pool_size=pool_size,
        application=f"enteron-{role}",
    )


def objects(settings: Settings) -> ObjectStore:
    return ObjectStore.from_url(
        settings.object_store_url or (settings.home.resolve() / "objects").as_uri(),
    )


def broker_url(settings: Settings) -> str:
    url = _required(settings.redis_url, "REDIS_URL")
    if settings.redis_password_file is None:
        return url
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    password = quote(settings.redis_password_file.read_text().strip(), safe="")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{password}@{host}"))


def _required(value: str | None, name: str) -> str:
    if value is None:
        raise InvalidInput(f"ENTERON_{name} is not set.", code="missing_setting")
    return value
