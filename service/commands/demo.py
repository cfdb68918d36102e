"""The main path once, through the public API alone: drawn frames, a small training, findings, heat maps."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from service.commands.connection import follow
from service.commands.problems import FAILED, Complaint
from service.commands.reading import findings_shown, write_overlays
from service.commands.terminal import Table, Terminal
from service.commands.training import measured, watch_training

if TYPE_CHECKING:
    from service.client.client import Enteron
    from service.client.resources import ModelVersion

MODEL = "lesion-detector"
BACKBONE = "resnet18"
PARAMS: Mapping[str, Any] = {"epochs": 8, "size_px": 128, "batch_size": 32}
TRAIN_FRAMES, UNSEEN_FRAMES = 2_000, 48
TRAIN_SEED, UNSEEN_SEED = 20261122, 7
SHOWN_PER_LABEL, SHOWN_NORMAL = 2, 4
REASON = "demo: trained on drawn frames, on this machine"

# Well above chance on drawn frames: below it something is broken rather than unlucky.
LEAST_MEAN_AUC = 0.8
LEAST_AGREEMENT = 0.7


@dataclass(frozen=True)
class Drawn:
    """A frame the model has not seen, and what was drawn into it."""

    name: str
    data: bytes
    truth: Mapping[str, bool]


def run_demo(client: "Enteron", terminal: Terminal, folder: Path) -> tuple[dict[str, Any], list[Table | str]]:
    """Make a champion unless there is one, read unseen frames, check what was found; for JSON and for people.

    `folder` keeps the unseen frames, so that a second start need not draw them again, and the heat maps.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not has_champion(client):
        version = make_champion(client, terminal)
        terminal.say(*measured(version["metrics"]))
        check_version(version)
        client.promote(MODEL, version["version"], reason=REASON)
        terminal.say(f"{MODEL}:{version['version']} is now in use")
    drawn = pick(unseen_frames(client, terminal, folder / "unseen.zip"))
    analysis_id = read(client, terminal, drawn)
    analysis, frames = client.analysis(analysis_id), client.frames(analysis_id)
    check_findings(frames, drawn)
    overlays = folder / "overlays"
    write_overlays(client, analysis_id, frames, overlays)
    result = {"analysis": analysis, "frames": frames, "overlays": str(overlays)}
    return result, [*findings_shown(analysis, frames), f"Heat maps  {overlays}"]


def has_champion(client: "Enteron") -> bool:
    return any(model["name"] == MODEL and "champion" in model["aliases"] for model in client.list_models())


def make_champion(client: "Enteron", terminal: Terminal) -> "ModelVersion":
    """Draw frames, ingest them, train."""
    job = client.synthesize(seed=TRAIN_SEED, frames=TRAIN_FRAMES, domain="train")
    file_id = _result(follow(client, terminal, job, "Drawing frames to learn from"))["file_id"]
    job = client.add_dataset("demo-frames", [file_id], format="synthetic")
    dataset_id = _result(follow(client, terminal, job, "Checking them"))["dataset_id"]
    job = client.train(MODEL, dataset_id, backbone=BACKBONE, params=PARAMS)
    trained = _result(watch_training(client, terminal, job))
    return client.model_version(trained["model"], trained["version"])


def unseen_frames(client: "Enteron", terminal: Terminal, kept: Path) -> list[Drawn]:
    """Frames of other hues, textures and shapes than those learnt from, by another seed."""
    if not kept.exists():
        job = client.synthesize(seed=UNSEEN_SEED, frames=UNSEEN_FRAMES, domain="test")
        file_id = _result(follow(client, terminal, job, "Drawing unseen frames"))["file_id"]
        draft = kept.with_suffix(".new")
        client.download(file_id, draft)
        draft.replace(kept)
    with zipfile.ZipFile(kept) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode())))
        return [_drawn(row, archive.read(f"images/{row['filename']}")) for row in rows]


def _drawn(row: Mapping[str, str], data: bytes) -> Drawn:
    truth = {name: value == "1" for name, value in row.items() if name not in {"filename", "group"}}
    return Drawn(row["filename"], data, truth)


def pick(frames: Sequence[Drawn]) -> list[Drawn]:
    """A few of each label and a few without any, in the order they were drawn."""
    picked = [frame for frame in frames if not any(frame.truth.values())][:SHOWN_NORMAL]
    for label in frames[0].truth:
        picked += [frame for frame in frames if frame.truth[label] and frame not in picked][:SHOWN_PER_LABEL]
    return sorted(picked, key=lambda frame: frame.name)


def read(client: "Enteron", terminal: Terminal, frames: Sequence[Drawn]) -> str:
    """Analyse the frames; returns the analysis' id."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder, frame.name) for frame in frames]
        for path, frame in zip(paths, frames, strict=True):
            path.write_bytes(frame.data)
        job = client.analyze(paths, model=MODEL)
    return str(_result(follow(client, terminal, job, "Reading unseen frames"))["analysis_id"])


def check_version(version: "ModelVersion") -> None:
    area = version["metrics"].get("mean_auc")
    if area is None or area < LEAST_MEAN_AUC:
        raise Complaint(
            f"The demo model reached a mean AUC of {area}; at least {LEAST_MEAN_AUC} was expected.",
            "Look at the training: `enteron job list --kind training`.",
            exit_code=FAILED,
        )


def check_findings(frames: Sequence[Mapping[str, Any]], drawn: Sequence[Drawn]) -> None:
    """Every frame was read, every probability is one, and most decisions agree with what was drawn."""
    unreadable = [frame["name"] for frame in frames if frame["error"]]
    if len(frames) != len(drawn) or unreadable:
        raise Complaint(f"{len(unreadable)} of the frames were not read.", _LOGS, exit_code=FAILED)
    share = agreement(frames, drawn)
    if share < LEAST_AGREEMENT:
        raise Complaint(
            f"The findings agree with only {share:.0%} of what was drawn.", _LOGS, exit_code=FAILED
        )


_LOGS = "Look at the workers' logs, and at `enteron job list`."


def agreement(frames: Sequence[Mapping[str, Any]], drawn: Sequence[Drawn]) -> float:
    """Share of decisions, over frames and labels, that are right."""
    truth = {frame.name: frame.truth for frame in drawn}
    right = [
        finding["positive"] == truth[frame["name"]][finding["label"]]
        for frame in frames
        for finding in frame["findings"]
    ]
    return sum(right) / len(right) if right else 0.0


def _result(job: Mapping[str, Any]) -> Mapping[str, Any]:
    result: Mapping[str, Any] = job["result"]
    return result
