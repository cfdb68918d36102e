"""`enteron key`: made and ended on the machine itself, for the first key of all has no other way in."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from service.commands.parts import settings
from service.commands.terminal import JsonFlag, Table, Terminal
from service.domain.access import Role

if TYPE_CHECKING:
    from service.store.keys import KeyRow

app = typer.Typer(help="Create, list and revoke API keys, on the machine itself.", no_args_is_help=True)


@app.command()
def create(
    role: Annotated[list[Role], typer.Option(help="What it may do; may be repeated.")],
    name: Annotated[str, typer.Option(help="Whose it is.")] = "command line",
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it lives.")] = 90,
    json_: JsonFlag = False,
) -> None:
    """Make a key. It is shown once."""
    from service.local import issue_key

    issued = issue_key(settings(), name=name, roles=role, lifetime=timedelta(days=days))
    shown = {**_facts(issued.row), "key": issued.token}
    Terminal(json=json_).result(shown, issued.token)


@app.command("list")
def list_(json_: JsonFlag = False) -> None:
    """All keys, without their secrets."""
    from service.local import list_keys

    found = [_facts(row) for row in list_keys(settings())]
    rows = [(key["id"], key["prefix"], ", ".join(key["roles"]), _state(key)) for key in found]
    Terminal(json=json_).result(found, Table(("id", "prefix", "roles", "state"), rows, whole=frozenset({0})))


@app.command()
def revoke(
    key: Annotated[UUID, typer.Argument(help="Id of the key, as `enteron key list` shows it.")],
    json_: JsonFlag = False,
) -> None:
    """End a key for good; the API notices within seconds."""
    from service.local import revoke_key

    Terminal(json=json_).result(_facts(revoke_key(settings(), key)), "The key opens nothing any more.")


def _facts(row: "KeyRow") -> dict[str, Any]:
    return {
        "id": str(row.id),
        "prefix": row.prefix,
        "roles": list(row.roles),
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
    }


def _state(key: dict[str, Any]) -> str:
    return f"revoked {key['revoked_at'][:10]}" if key["revoked_at"] else f"until {key['expires_at'][:10]}"
