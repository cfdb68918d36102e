"""`enteron train`: a recipe on a dataset, with its numbers as they come and intervals at the end."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.comparing import compared
from service.commands.connection import connect, follow
from service.commands.datasets import options, resolve
from service.commands.leaks import leaks_in_words
from service.commands.terminal import JsonFlag, Show, Table, Terminal, percent, told

if TYPE_CHECKING:
    from service.client.client import Enteron
    from service.client.resources import Job

_METRICS_EVERY_S = 2.0
_SHOWN = {
    "loss": "loss",
    "tune_mean_auc": "tune AUC",
    "tune_balanced_accuracy": "balanced",
}  # of the live series; all are kept with the job


def train(
    datasets: Annotated[
        list[str],
        typer.Argument(help="Id, NAME or NAME:VERSION of datasets, learnt from as one."),
    ],
    recipe: Annotated[str, typer.Option(help="What to train.")] = "lesion-detector",
    backbone: Annotated[str | None, typer.Option(help="As `GET /backbones` lists them.")] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", help="NAME=VALUE for the recipe; may be repeated.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Model to add the version to; the recipe's if not given.")
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Compare the recipe's arms over folds and seeds instead."),
    ] = False,
    folds: Annotated[int | None, typer.Option(help="With --compare; 5 if not given.", min=2, max=50)] = None,
    seeds: Annotated[int | None, typer.Option(help="With --compare; 3 if not given.", min=1, max=50)] = None,
    order: Annotated[
        str | None,
        typer.Option(help="With --compare: contiguous (if not given) or stratified folds of groups."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --compare: file for the whole table as JSON.", dir_okay=False)
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Train a model; the result is a new version, not yet in use."""
    terminal = Terminal(json=json_)
    how = _comparison(compare, name, {"folds": folds, "seeds": seeds, "order": order, "out": out})
    if out is not None and not out.parent.is_dir():  # hours later it would be too late to say so
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    with connect() as client:
        params = _with_uploads(client, options(param))
        job = client.train(
            recipe,
            *(resolve(client, dataset) for dataset in datasets),
            backbone=backbone,
            params=params,
            model_name=name,
            compare=how,
        )
        terminal.say(f"Job {job['id']}; it goes on without this command: `enteron job watch {job['id']}`")
        if compare:
            return _compare(client, terminal, job, out)
        result = watch_training(client, terminal, job)["result"] or {}
    made = f"{result['model']}:{result['version']}"
    use = f"Put it into use: enteron model promote {made} --reason '...'"
    return terminal.result(result, f"Trained {made}", *measured(result["metrics"]), use)


def _comparison(wanted: bool, name: str | None, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the service is to be told of a comparison; options that would change nothing are refused."""
    given = {option: value for option, value in options.items() if value is not None}
    if wanted and name is not None:
        raise typer.BadParameter("a comparison makes no version to name", param_hint="--name")
    if given and not wanted:
        raise typer.BadParameter("only with --compare", param_hint=f"--{next(iter(given))}")
    return {option: value for option, value in given.items() if option != "out"} if wanted else None


def _compare(client: "Enteron", terminal: Terminal, job: "Job", out: Path | None) -> None:
    comparison = (follow(client, terminal, job, "Comparing")["result"] or {})["comparison"]
    if out is not None:
        out.write_text(json.dumps(comparison, indent=1) + "\n")
    terminal.result(comparison, *compared(comparison))


def _with_uploads(client: "Enteron", params: dict[str, Any]) -> dict[str, Any]:
    """Weights to start from may be named as a file of this machine, which is uploaded."""
    named = str(params.get("initial_weights", ""))
    if not named.endswith(".safetensors"):
        return params
    return params | {"initial_weights": client.upload(named)["id"]}


def watch_training(client: "Enteron", terminal: Terminal, job: "Job") -> "Job":
    """Follow a training, with the newest values of its series beside the bar."""
    with terminal.progress("Training") as show:
        return client.wait(job, live(client, show))


def live(client: "Enteron", show: Show) -> Callable[["Job"], None]:
    looked_at, values = 0.0, ""

    def report(job: "Job") -> None:
        nonlocal looked_at, values
        now = time.monotonic()
        if job["state"] == "running" and now - looked_at >= _METRICS_EVERY_S:
            looked_at = now
            values = newest(client.series(job["id"]))
        done, total, sentence, left = told(job, "Training")
        show(done, total, sentence, left + values)

    return report


def newest(series: Mapping[str, Any]) -> str:
    """The last value of each series that a person watches."""
    last = {said: series[name][-1][1] for name, said in _SHOWN.items() if series.get(name)}
    return "".join(f"; {said} {value:.3f}" for said, value in last.items() if value is not None)


def measured(metrics: Mapping[str, Any]) -> list[Table | str]:
    """What a version reached on frames, beside what colour alone reaches on the same ones."""
    labels = metrics.get("labels") or {}
    if not labels:
        return ["Nothing was measured."]
    baseline = metrics.get("colour_baseline") or {}
    rows = [_measured_row(label, entry, baseline.get(label)) for label, entry in labels.items()]
    columns = (
        "label",
        "positives",
        "AUC",
        "95 % interval",
        "colour alone",
        "sens. at 90 % spec.",
        "peak in lesion (random weights)",
        "overlap, IoU (random weights)",
    )
    sentence = _on(metrics) + _together(metrics.get("classes"))
    table = Table(columns, rows, right=frozenset(range(1, len(columns))))
    return [sentence, table, leaks_in_words(metrics.get("leaks"))]


def _on(metrics: Mapping[str, Any]) -> str:
    """On what it was measured, and of which weights."""
    of = f"of {metrics['groups']} groups"
    if metrics.get("cross_validated"):
        return (
            f"Measured on {metrics['frames']} frames {of}, of networks that had not learnt from them, while "
            "the weights of this version have"
        )
    learnt = metrics.get("trained_on_it", False)
    frames = "frames, among them those it learnt from: this flatters," if learnt else "unseen frames"
    return f"Measured on {metrics['frames']} {frames} {of}"


def _together(classes: Mapping[str, Any] | None) -> str:
    """Of classes that exclude each other, how often the answer was right."""
    if classes is None:
        return ""
    found = classes["metrics"]
    names = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_f1": "macro F1", "mcc": "MCC"}
    said = [f"{word} {area(found[name])} ({interval(found[name])})" for name, word in names.items()]
    return f": {', '.join(said)}"


def _measured_row(
    label: str, entry: Mapping[str, Any], baseline: Mapping[str, Any] | None
) -> tuple[str, ...]:
    maps = entry.get("map") or {}
    pointing, overlap = entry.get("pointing"), maps.get("overlap")
    hits = f"{percent(pointing['rate'])} of {pointing['n']}" if pointing else percent(None)
    chance = maps.get("random_weights") or {}
    return (
        label,
        f"{entry['positives']} of {entry['known']}",
        area(entry.get("auc")),
        interval(entry.get("auc")),
        area(baseline),
        percent((entry.get("sensitivity_at_90_specificity") or {}).get("value")),
        hits + _beside((chance.get("pointing") or {}).get("rate")),
        percent((overlap or {}).get("value")) + _beside((chance.get("overlap") or {}).get("value")),
    )


def _beside(by_random_weights: float | None) -> str:
    return "" if by_random_weights is None else f" ({percent(by_random_weights)})"


def area(estimate: Mapping[str, Any] | None) -> str:
    return "not measured" if estimate is None else f"{estimate['value']:.2f}"


def interval(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate.get("low") is None:
        return "not measured"
    return f"{estimate['low']:.2f} to {estimate['high']:.2f}"
