"""`enteron dataset`: training data in, with what ingest found in it."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.connection import connect, follow
from service.commands.problems import Complaint
from service.commands.terminal import JsonFlag, Table, Terminal

if TYPE_CHECKING:
    from service.client.client import Enteron
    from service.client.resources import Dataset

# The words of models.imaging.formats.build, which this side cannot import; docs/datasets.md describes them.
FORMATS = (
    "labels-csv",
    "synthetic",
    "csv",
    "folders",
    "wcebleedgen",
    "kvasir-capsule",
    "capsule-vision",
    "see-ai",
    "galar",
    "kvasir-seg",
    "hyper-kvasir",
)

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

app = typer.Typer(help="Add training data and see what is in it.", no_args_is_help=True)


@app.command()
def add(
    source: Annotated[Path, typer.Argument(help="A folder or a zip of it.", exists=True)],
    format_: Annotated[
        str, typer.Option("--format", help=f"How labels lie beside the images: {', '.join(FORMATS)}.")
    ] = "labels-csv",
    name: Annotated[str | None, typer.Option(help="The folder's or file's name if not given.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE for the format; may be repeated.")
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Upload a folder or zip, have it checked, and print what was found."""
    terminal = Terminal(json=json_)
    with connect() as client, packed(source, terminal) as archive:
        with terminal.progress("Sending", "bytes") as show:
            sent = client.upload(archive, on_bytes=lambda done, total: show(done, total, "Sending"))
        job = client.add_dataset(
            name or slug(source.resolve().stem), [sent["id"]], format=format_, options=options(option)
        )
        result = follow(client, terminal, job, "Checking")["result"] or {}
        dataset = client.dataset(result["dataset_id"])
    terminal.result(dataset, *report(dataset))


@app.command("list")
def list_(json_: JsonFlag = False) -> None:
    """All datasets, newest first."""
    with connect() as client:
        found = client.datasets()
    rows = [(f"{d['name']}:{d['version']}", d["kind"], d["format"], d["state"], d["id"]) for d in found]
    Terminal(json=json_).result(
        found, Table(("dataset", "kind", "format", "state", "id"), rows, whole=frozenset({4}))
    )


@app.command()
def show(dataset: Annotated[str, typer.Argument(help="Id of the dataset.")], json_: JsonFlag = False) -> None:
    """What ingest found in a dataset."""
    with connect() as client:
        found = client.dataset(resolve(client, dataset))
    Terminal(json=json_).result(found, *report(found))


@contextmanager
def packed(source: Path, terminal: Terminal) -> Iterator[Path]:
    """The zip itself, or the folder as one, in a temporary file that is gone afterwards."""
    from service.client.upload import zip_folder

    if source.is_file():
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "dataset.zip")
        with terminal.progress("Packing", "files") as show:
            made = zip_folder(source, archive, on_files=lambda done, total: show(done, total, "Packing"))
        if made.files == 0:
            raise Complaint("The folder is empty.", "Give the folder that holds the images and their labels.")
        if made.left_out:
            terminal.say(f"{made.left_out} links, hidden or special files were left out")
        yield archive


def slug(text: str) -> str:
    """A name as the service takes it, from a folder's or file's."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:63] or "dataset"


def options(given: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE pairs; numbers and true/false are read as such."""
    import json

    read: dict[str, Any] = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE")
        try:
            read[name] = json.loads(value)
        except ValueError:
            read[name] = value
    return read


def report(dataset: "Dataset") -> list[Table | str]:
    """Counts per label, then every kind of problem with how often it was met."""
    found = dataset["report"] or {}
    shown: list[Table | str] = [
        f"{dataset['name']}:{dataset['version']} is {dataset['state']}; id {dataset['id']}"
    ]
    if not found:
        return [
            *shown,
            f"No report yet: `enteron job watch {dataset['job_id']}` tells how its check goes or ended.",
        ]
    return shown + _counts(found) + _problems(found)


def _counts(found: Mapping[str, Any]) -> list[Table | str]:
    labels = found.get("labels") or []
    if not labels:
        return []
    values = ("positive", "negative", "unknown")
    rows = [(counts["label"], *(str(counts[value]) for value in values)) for counts in labels]
    sentence = f"{found['frames']} frames in {len(found['groups'])} groups, {found['refused']} refused"
    return [sentence, Table(("label", *values), rows, right=frozenset({1, 2, 3}))]


def _problems(found: Mapping[str, Any]) -> list[Table | str]:
    problems, notes = found.get("problems") or [], found.get("notes") or []
    if not problems:
        return [*notes, "No problems found."]
    rows = [(str(p["code"]).replace("_", " "), str(p["count"]), _examples(p)) for p in problems]
    return [*notes, Table(("problem", "count", "for example"), rows, right=frozenset({1}))]


def _examples(problem: Mapping[str, Any]) -> str:
    return ", ".join(str(example) for example in problem.get("examples", [])[:5])


def resolve(client: "Enteron", given: str) -> str:
    """The id of a dataset given by id, NAME or NAME:VERSION; of several versions the newest."""
    if _ID.fullmatch(given):
        return given
    name, _, version = given.partition(":")
    found = [d for d in client.datasets() if d["name"] == name and version in {"", str(d["version"])}]
    if not found:
        raise Complaint(f"There is no dataset {given}.", "See `enteron dataset list`.")
    return max(found, key=lambda dataset: dataset["version"])["id"]
