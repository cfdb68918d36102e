"""`enteron model`: versions, which of them is in use, and bringing them in and out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import papers, promoting
from service.commands.connection import connect, follow
from service.commands.datasets import resolve
from service.commands.papers import SAFE
from service.commands.problems import Complaint
from service.commands.terminal import JsonFlag, Table, Terminal
from service.commands.training import measured

if TYPE_CHECKING:
    from service.client.client import Enteron
    from service.client.resources import Model, ModelVersion

app = typer.Typer(help="List, compare, promote and exchange model versions.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the model.")]
Version = Annotated[str, typer.Argument(help="NAME:VERSION, NAME@ALIAS, or NAME for the champion.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept for good.")]
Alias = Annotated[str, typer.Option(help="The name that moves.")]


@app.command("list")
def list_(json_: JsonFlag = False) -> None:
    """All models with their versions and aliases."""
    with connect() as client:
        models = client.list_models()
    columns = ("model", "version", "in use as", "task", "evidence", "made")
    rows = [_row(model, version) for model in models for version in model["versions"]]
    Terminal(json=json_).result(models, Table(columns, rows, right=frozenset({1})))


@app.command()
def show(version: Version, json_: JsonFlag = False) -> None:
    """What a version is, what it was measured to do, and what it is not for."""
    with connect() as client:
        found = _version(client, version)
    facts = [(name, _fact(found.get(name))) for name in _FACTS if found.get(name)]
    Terminal(json=json_).result(found, Table(("", ""), facts), *measured(found["metrics"]))


@app.command()
def promote(
    version: Version,
    reason: Reason,
    alias: Alias = "champion",
    force: Annotated[bool, typer.Option("--force", help="Even if it is worse than the champion.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Put a version into use, unless it is worse than the champion on any label."""
    terminal = Terminal(json=json_)
    with connect() as client:
        found = _version(client, version)
        answer = promoting.promote(client, terminal, found, reason=reason, alias=alias, force=force)
    terminal.result(answer, f"{found['name']}@{alias} is now version {found['version']}.")


@app.command()
def rollback(model: Name, reason: Reason, alias: Alias = "champion", json_: JsonFlag = False) -> None:
    """Put the version before back into use."""
    with connect() as client:
        answer = client.rollback(model, reason=reason, alias=alias)
    Terminal(json=json_).result(answer, f"{model}@{alias} is now version {answer['to_version']}.")


@app.command("import")
def import_(
    model: Name,
    weights: Annotated[Path, typer.Argument(help="safetensors file.", exists=True, dir_okay=False)],
    spec: Annotated[Path, typer.Argument(help="Its spec as JSON.", exists=True, dir_okay=False)],
    json_: JsonFlag = False,
) -> None:
    """Register weights that were trained elsewhere as the next version."""
    try:
        described = json.loads(spec.read_text())
    except ValueError:
        raise Complaint("The spec is not JSON.", "See docs/extending.md for what it holds.") from None
    with connect() as client:
        made = client.import_version(model, weights, described)
    Terminal(json=json_).result(made, f"Registered as {made['name']}:{made['version']}.")


@app.command()
def export(
    version: Version,
    target: Annotated[
        Path, typer.Argument(help="File for the weights; the spec goes beside it.", dir_okay=False)
    ],
    form: Annotated[papers.Form, typer.Option("--format", help="All but safetensors is one file.")] = SAFE,
    json_: JsonFlag = False,
) -> None:
    """Write the weights of a version to a file, and its spec beside it: what `import` takes."""
    spec = target.with_suffix(".json")
    with connect() as client:
        found = _version(client, version)
        if form != SAFE:
            return papers.save_export(client, found, target, form, Terminal(json=json_))
        size = client.export_version(found["name"], found["version"], target)
        client.export_version(found["name"], found["version"], spec, form="spec")
    written = {"weights": str(target), "spec": str(spec), "size": size, "sha256": found["sha256"]}
    Terminal(json=json_).result(written, f"{target.name} ({size} bytes) and {spec.name} written.")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A state dict as torch.save writes it.", exists=True)],
    target: Annotated[Path, typer.Argument(help="The safetensors file to write.", dir_okay=False)],
    json_: JsonFlag = False,
) -> None:
    """Turn public weights (.pth) into safetensors, in a confined process that runs no code of theirs."""
    from service.commands.converting import converted

    made = converted(source, target)
    Terminal(json=json_).result(made, f"{made['tensors']} tensors ({made['size']} bytes) in {target.name}.")


@app.command()
def evaluate(
    version: Version,
    dataset: Annotated[str, typer.Option(help="Id, NAME or NAME:VERSION of a dataset.")],
    report: Annotated[Path | None, typer.Option(help="HTML file for the report.", dir_okay=False)] = None,
    json_: JsonFlag = False,
) -> None:
    """Measure a version on any dataset."""
    terminal = Terminal(json=json_)
    if report is not None and not report.parent.is_dir():  # once it is measured it would be late to say so
        raise typer.BadParameter(f"there is no folder {report.parent}", param_hint="--report")
    with connect() as client:
        found = _version(client, version)
        job = client.evaluate(found["name"], found["version"], resolve(client, dataset))
        metrics = (follow(client, terminal, job, "Evaluating")["result"] or {})["metrics"]
        if report is not None:
            papers.save(client, found, report, "report", terminal, evaluation_id=job["id"])
    terminal.result(metrics, *measured(metrics))


@app.command()
def report(version: Version, target: papers.Page, json_: JsonFlag = False) -> None:
    """Write what was measured of a version as a page to read and print."""
    terminal = Terminal(json=json_)
    with connect() as client:
        papers.save(client, _version(client, version), target, "report", terminal)
    terminal.result({"file": str(target)})


@app.command()
def card(version: Version, target: papers.Page, json_: JsonFlag = False) -> None:
    """Write the model card of a version as a page to read and print."""
    terminal = Terminal(json=json_)
    with connect() as client:
        papers.save(client, _version(client, version), target, "card", terminal)
    terminal.result({"file": str(target)})


_FACTS = (
    "name",
    "version",
    "task",
    "labels",
    "evidence",
    "default_operating_point",
    "operating_points",
    "intended_use",
    "limitations",
    "dataset_fingerprint",
    "sha256",
    "created_at",
)


def _version(client: "Enteron", given: str) -> "ModelVersion":
    """The version that NAME:VERSION, NAME@ALIAS or NAME means."""
    name, colon, number = given.partition(":")
    if colon:
        if not number.isdigit():
            raise typer.BadParameter(f"{given!r} is not NAME:VERSION")
        return client.model_version(name, int(number))
    name, _, alias = given.partition("@")
    model = next((found for found in client.list_models() if found["name"] == name), None)
    version = (model or {"aliases": {}})["aliases"].get(alias or "champion")
    if version is None:
        raise Complaint(f"Nothing is in use as {name}@{alias or 'champion'}.", "See `enteron model list`.")
    return client.model_version(name, version)


def _row(model: "Model", version: "ModelVersion") -> tuple[str, ...]:
    aliases = ", ".join(alias for alias, at in model["aliases"].items() if at == version["version"])
    made = version["created_at"][:16].replace("T", " ")
    return (model["name"], str(version["version"]), aliases, version["task"], version["evidence"], made)


def _fact(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            str(item.get("name", item)) if isinstance(item, dict) else str(item) for item in value
        )
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
