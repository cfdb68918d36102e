"""Files of a version for the command line: fetched, and made by a job first if they are not there yet."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.commands.connection import follow
from service.commands.terminal import Terminal

if TYPE_CHECKING:
    from service.client.client import Enteron
    from service.client.resources import Job, ModelVersion

Form = Literal["safetensors", "onnx", "monai-bundle"]
Page = Annotated[Path, typer.Argument(help="HTML file to write.", dir_okay=False)]
SAFE: Literal["safetensors"] = "safetensors"


def save(
    client: "Enteron",
    version: "ModelVersion",
    target: Path,
    form: Literal["card", "report"],
    terminal: Terminal,
    *,
    evaluation_id: str | None = None,
) -> None:
    """Fetch card or report, and say where it lies."""
    name, number = version["name"], version["version"]
    _fetch(
        lambda: client.save_paper(name, number, target, form=form, evaluation_id=evaluation_id),
        lambda: client.make_file(name, number, form, evaluation_id=evaluation_id),
        client,
        terminal,
    )
    terminal.say(f"{form.capitalize()} written to {target.resolve()}")


def save_export(
    client: "Enteron",
    version: "ModelVersion",
    target: Path,
    form: Literal["onnx", "monai-bundle"],
    terminal: Terminal,
) -> None:
    name, number = version["name"], version["version"]
    size = _fetch(
        lambda: client.export_version(name, number, target, form=form),
        lambda: client.make_file(name, number, form),
        client,
        terminal,
    )
    terminal.result({"file": str(target), "size": size}, f"{target.name} ({size} bytes) written.")


def _fetch(fetch: Callable[[], int], make: "Callable[[], Job]", client: "Enteron", terminal: Terminal) -> int:
    """What was made earlier as it is, else a job makes it first."""
    from service.client.errors import Refused

    try:
        return fetch()
    except Refused as refused:
        if refused.code != "not_made":
            raise
    follow(client, terminal, make(), "Writing")
    return fetch()
