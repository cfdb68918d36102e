"""`enteron analyze` and `enteron predict`: frames in, findings out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.connection import connect, follow
from service.commands.datasets import resolve
from service.commands.problems import Complaint
from service.commands.terminal import JsonFlag, Table, Terminal, percent

if TYPE_CHECKING:
    from service.client.client import Enteron
    from service.client.resources import Analysis

# A shape and a letter with every label: nobody has to tell colours apart.
MARKS = {"polyp": "● P", "bleeding": "◆ B", "inflammatory": "▲ I", "content": "■ C"}
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".zip"})


def analyze(
    files: Annotated[
        list[Path], typer.Argument(help="Images (JPEG, PNG, TIFF), zips of them, or folders.", exists=True)
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="NAME, NAME@ALIAS or NAME:VERSION; if not given lesion-detector, or else starter-detector."
        ),
    ] = None,
    operating_point: Annotated[str | None, typer.Option(help="Named thresholds of the model.")] = None,
    save_overlays: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the positive frames with their heat maps.")
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Read frames and print what was found in each."""
    terminal = Terminal(json=json_)
    paths = images(files)
    if save_overlays:
        refuse_pictures_in(save_overlays)
    with connect() as client:
        with terminal.progress("Sending", "bytes") as show:
            job = client.analyze(
                paths,
                model=model,
                operating_point=operating_point,
                on_bytes=lambda done, total: show(done, total, "Sending"),
            )
        result = follow(client, terminal, job, "Reading")["result"] or {}
        analysis = client.analysis(result["analysis_id"])
        frames = client.frames(analysis["id"])
        if save_overlays:
            saved = write_overlays(client, analysis["id"], frames, save_overlays)
            terminal.say(f"{saved} pictures with heat maps written")
    terminal.result({"analysis": analysis, "frames": frames}, *findings_shown(analysis, frames))


def predict(
    model: Annotated[str, typer.Option(help="NAME, NAME@ALIAS or NAME:VERSION.")],
    file: Annotated[Path | None, typer.Argument(help="Input file.", exists=True, dir_okay=False)] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Id, NAME or NAME:VERSION of a dataset, instead of a file.")
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Run any registered model on a fitting file or dataset."""
    terminal = Terminal(json=json_)
    if (file is None) == (dataset is None):
        raise typer.BadParameter("give a file or --dataset, not both")
    with connect() as client:
        file_id = None
        if file is not None:
            with terminal.progress("Sending", "bytes") as show:
                file_id = client.upload(file, on_bytes=lambda done, total: show(done, total, "Sending"))["id"]
        dataset_id = resolve(client, dataset) if dataset else None
        job = client.predict(model, file_id=file_id, dataset_id=dataset_id)
        result = follow(client, terminal, job, "Predicting")["result"] or {}
        rows = client.prediction_rows(result["prediction_id"])
    names = list(dict.fromkeys(name for row in rows for name in row["outputs"]))
    table = Table(
        ("item", *names),
        [(str(row["item"]), *(_output(row["outputs"].get(name)) for name in names)) for row in rows],
    )
    terminal.result({"prediction_id": result["prediction_id"], "rows": rows}, table)


def images(given: Sequence[Path]) -> list[Path]:
    """Files as they are; of folders, what looks like an image or a zip, by name."""
    found = [path for entry in given for path in (_inside(entry) if entry.is_dir() else [entry])]
    if not found:
        raise Complaint("There are no images in this folder.", "Give JPEG, PNG or TIFF images, or a zip.")
    return found


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def _output(value: Any) -> str:
    return percent(value, digits=1) if isinstance(value, float) else "" if value is None else str(value)


def findings_shown(analysis: "Analysis", frames: Sequence[Mapping[str, Any]]) -> list[Table | str]:
    """One sentence, one row per frame, and what the reader must know of the model."""
    labels = list(dict.fromkeys(finding["label"] for frame in frames for finding in frame["findings"]))
    rows = [_row(frame, labels) for frame in frames]
    model = analysis["model"]
    unreadable = sum(bool(frame["error"]) for frame in frames)
    positive = sum(any(finding["positive"] for finding in frame["findings"]) for frame in frames)
    sentence = (
        f"{len(frames)} frames, {positive} with findings, {unreadable} unreadable; "
        f"{model['name']}:{model['version']}, operating point {analysis['operating_point']}"
    )
    right = frozenset(range(2, 2 + len(labels)))
    return [sentence, Table(("frame", "pixels", *labels), rows, right=right), _caution(frames)]


def _row(frame: Mapping[str, Any], labels: Sequence[str]) -> tuple[str, ...]:
    if frame["error"]:
        return (frame["name"], "", f"unreadable: {frame['error']['code']}", *[""] * (len(labels) - 1))
    by_label = {finding["label"]: finding for finding in frame["findings"]}
    cells = (_cell(by_label[label]) if label in by_label else "" for label in labels)
    return (frame["name"], f"{frame['width']} x {frame['height']}", *cells)


def _cell(finding: Mapping[str, Any]) -> str:
    probability = percent(finding["probability"])
    return f"{MARKS.get(finding['label'], '●')} {probability}" if finding["positive"] else probability


def _caution(frames: Sequence[Mapping[str, Any]]) -> str:
    evidence = {finding["label"]: finding["evidence"] for frame in frames for finding in frame["findings"]}
    drawn = [label for label, kind in evidence.items() if kind == "synthetic"]
    if not drawn:
        return "Research use. Not for diagnosis."
    what = "The model" if len(drawn) == len(evidence) else f"Of {', '.join(drawn)} the model"
    return (
        f"Research use. Not for diagnosis. {what} knows drawn frames alone: it says nothing about patients."
    )


def refuse_pictures_in(folder: Path) -> None:
    """Those of another reading would pass for this one's."""
    if any(folder.glob("*.png")):
        raise Complaint(f"There are pictures in {folder} already.", "Name a new or empty folder.")


def write_overlays(
    client: "Enteron", analysis_id: str, frames: Sequence[Mapping[str, Any]], folder: Path
) -> int:
    """One picture per positive finding; named by number and label, for a frame's name may tell a person's.

    Numbers count from 1, as on the page and in the order of the table.
    """
    from service.commands.overlays import compose

    folder.mkdir(parents=True, exist_ok=True)
    found = [(frame["ordinal"], finding) for frame in frames for finding in frame["findings"]]
    positive = [(ordinal, finding) for ordinal, finding in found if finding["positive"]]
    for ordinal, finding in positive:
        image = client.image(analysis_id, ordinal)
        overlay = client.overlay(analysis_id, ordinal, finding["label"])
        compose(image, overlay, finding).save(folder / f"{ordinal + 1:06d}-{finding['label']}.png")
    return len(positive)
