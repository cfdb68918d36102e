"""Does the triplet loss help? The detector against both of its cross-entropy baselines, over folds and seeds.

Per fold and seed all arms start from the same weights, learn from the same frames and are judged on the same
ones, so that their differences are paired. The fold is the unit of every interval: seeds of one fold share
their frames. "triplet" and "cross-entropy" differ by the triplets alone (and their routing, if one is given);
in "frozen" only the dense layer learns, by cross-entropy alone, on the features of a backbone as it started,
whose batch norms still follow the frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from models.events import CheckpointWritten, Event, Metric, Progress
from models.imaging.comparison_table import differences, hardest, summary
from models.imaging.decoded import Coverage, Stopped
from models.imaging.evidence import one_kind
from models.imaging.folds import Order, fold_sides, number_folds
from models.imaging.lesion_params import LesionDetectorParams
from models.imaging.lesion_training import fit
from models.imaging.localisation import measure_maps
from models.imaging.mixture import Frames, open_frames
from models.imaging.predictor import Predictor
from models.imaging.prepare import (
    Division,
    FrameTable,
    PreparedFrames,
    TrainingRefused,
    decode,
    divide,
    drawn_lesions,
    prepared,
    read_table,
)
from models.imaging.recipe import colour_alone
from models.imaging.transfer_options import WeightsFile
from models.imaging.triplet import TripletParams
from models.metrics import RANKING_METRICS, Ranking
from models.schema import JsonObject, bounded, encode
from models.schema import decode as decode_json
from models.training import Interrupted, TrainingFailed

TRIPLET, CROSS_ENTROPY, FROZEN = "triplet", "cross-entropy", "frozen"


@dataclass(frozen=True)
class ComparisonParams:
    """How to compare."""

    folds: int = bounded(5, minimum=2, maximum=50)
    seeds: int = bounded(3, minimum=1, maximum=50)
    order: Order = "contiguous"


@dataclass(frozen=True)
class _Plan:
    """What stays the same over all runs."""

    dataset: Frames
    pixels_NHWC: npt.NDArray[np.uint8]
    fold_N: npt.NDArray[np.int64]
    divisions: Mapping[tuple[int, int], Division]
    coverages: Mapping[tuple[str, ...], Coverage | None]
    settings: LesionDetectorParams
    initial_weights: WeightsFile | None
    fingerprint: str

    def frames(self, fold: int, seed: int) -> PreparedFrames:
        division = self.divisions[fold, seed]
        return prepared(division, self.pixels_NHWC, self.coverages[division.label_names])


def compare(
    dataset_dir: Path,
    params: Mapping[str, Any],
    comparison: Mapping[str, Any],
    work_dir: Path,
    *,
    resume_from: Path | None = None,
    initial_weights: WeightsFile | None = None,
    report: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> JsonObject | Interrupted:
    """Train every arm on every fold with every seed.

    Args:
        dataset_dir: see `models.imaging.recipe.run`.
        params: of the recipe; `triplet` is that of the triplet arm, the reference work's if it is not given.
        comparison: see `ComparisonParams`.
        work_dir: private folder.
        initial_weights: what every arm starts from, if the parameter of that name is given.
        resume_from: a checkpoint of the same comparison; runs that it holds are not repeated.
        report: progress in runs, each run's AUC as a metric, a checkpoint after each run.
        should_stop: polled between steps; a run that is broken off is repeated.

    Returns:
        `{"design", "folds", "runs", "summary", "differences"}`, JSON-able: see `comparison_table`.

    Raises:
        SchemaError, TrainingRefused, TrainingFailed, CheckpointDamaged: as the recipe.
    """
    settings = decode_json(LesionDetectorParams, params)
    how = decode_json(ComparisonParams, comparison)
    with open_frames(dataset_dir) as dataset:
        table = read_table(dataset)
        fold_N = number_folds(table, how.order, count=how.folds, seed=settings.seed)
        seeds = [settings.seed + offset for offset in range(how.seeds)]
        divisions = _divisions(table, fold_N, settings, how, seeds)
        try:
            pixels_NHWC = decode(
                dataset, size_px=settings.size_px, work_dir=work_dir, report=report, should_stop=should_stop
            )
        except Stopped:
            return Interrupted(resume_from, 0)
        by_labels = {division.label_names: division for division in divisions.values()}
        coverages = {names: drawn_lesions(dataset, division) for names, division in by_labels.items()}
        plan = _Plan(
            dataset,
            pixels_NHWC,
            fold_N,
            divisions,
            coverages,
            settings,
            initial_weights,
            dataset.fingerprint(),
        )
        design = {"recipe": encode(settings), "comparison": encode(how), "dataset": plan.fingerprint}
        done = _done(resume_from, design)
        jobs = [(fold, seed, arm) for fold in range(how.folds) for seed in seeds for arm in arms(settings)]
        for number in range(len(done), len(jobs)):
            report(Progress(number, len(jobs), "runs", "comparing"))
            alive = _pulse(Progress(number, len(jobs), "runs", "comparing"), report)
            run = _run(plan, *jobs[number], work_dir=work_dir, report=alive, should_stop=should_stop)
            if run is None:
                return Interrupted(_newest(work_dir) or resume_from, number)
            done.append(run)
            _tell(run, number, report)
            kept = write_checkpoint(
                _folder(work_dir), number + 1, Checkpoint({}, {"design": design, "runs": done})
            )
            report(CheckpointWritten(kept, number + 1))
        report(Progress(len(jobs), len(jobs), "runs", "comparing"))
        return _account(plan, how.folds, seeds, done) | {"design": design | {"seeds": seeds}}


def arms(settings: LesionDetectorParams) -> dict[str, LesionDetectorParams]:
    """The recipe's parameters for each arm."""
    return {
        TRIPLET: replace(settings, triplet=settings.triplet or TripletParams()),
        CROSS_ENTROPY: replace(settings, triplet=None, routing="joint"),
        FROZEN: replace(settings, triplet=None, routing="detached", map_weight=0.0, cell_weight=0.0),
    }


def _divisions(
    table: FrameTable,
    fold_N: npt.NDArray[np.int64],
    settings: LesionDetectorParams,
    how: ComparisonParams,
    seeds: Sequence[int],
) -> dict[tuple[int, int], Division]:
    """All splits, checked before anything is decoded."""
    divisions = {}
    for fold in range(how.folds):
        for seed in seeds:
            sides_N = fold_sides(
                table, fold_N, fold, order=how.order, tune_fraction=settings.tune_fraction, seed=seed
            )
            try:
                divisions[fold, seed] = divide(table, sides_N, seed=seed)
            except TrainingRefused as refused:
                message = f"{refused.message} (fold {fold + 1} of {how.folds})"
                raise TrainingRefused(refused.code, message) from refused
    return divisions


def _run(
    plan: _Plan,
    fold: int,
    seed: int,
    arm: str,
    *,
    work_dir: Path,
    report: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> JsonObject | None:
    """One training, judged on its fold; None if it was stopped."""
    settings = replace(arms(plan.settings)[arm], seed=seed, checkpoint_every_s=float(10**9))
    frames = plan.frames(fold, seed)
    fitted = fit(
        frames,
        settings,
        work_dir,
        dataset=plan.dataset,
        initial_weights=plan.initial_weights,
        report=report,
        should_stop=should_stop,
    )
    if isinstance(fitted, Interrupted):
        return None
    return {
        "arm": arm,
        "fold": fold,
        "seed": seed,
        "best_epoch": fitted.outcome.best_epoch,
        "elapsed_s": round(fitted.outcome.elapsed_s, 1),
        **_judge(plan.dataset, frames, fitted.predictor()),
    }


def _judge(dataset: Frames, frames: PreparedFrames, predictor: Predictor) -> JsonObject:
    test_M = frames.on("test")
    labels_MK, _ = one_kind(frames.labels_NK[test_M], frames.synthetic_N[test_M])
    predictions = predictor.predict(frames.pixels_NHWC, rows_B=test_M)
    maps = measure_maps(
        predictions,
        labels_MK,
        frames.groups_N[test_M],
        dataset,
        test_M,
        size_px=predictor.spec.input.size_px,
    )
    labels = {}
    for column, name in enumerate(predictions.labels):
        found = maps[name]
        labels[name] = _ranked(labels_MK[:, column], predictions.scores_BK[:, column]) | {
            "pointing": None if found is None else found["pointing"]["rate"],
            "overlap": None if found is None else found["overlap"]["value"],
        }
    scores = {
        name: [round(float(score), 4) for score in predictions.scores_BK[:, column]]
        for column, name in enumerate(predictions.labels)
    }
    return {"labels": labels, "scores": scores}


def _ranked(labels_M: npt.NDArray[np.int8], scores_M: npt.NDArray[np.float32]) -> dict[str, float | None]:
    ranking = Ranking(labels_M, scores_M)
    if not ranking.has_both_classes:
        return dict.fromkeys(RANKING_METRICS)
    curve = ranking.curve(np.ones((1, len(labels_M))))
    return {name: float(metric(curve)[0]) for name, metric in RANKING_METRICS.items()}


def _account(plan: _Plan, folds: int, seeds: Sequence[int], runs: Sequence[JsonObject]) -> JsonObject:
    names = sorted({name for run in runs for name in run["labels"]})
    return {
        "folds": [_describe(plan, fold, seeds[0], runs) for fold in range(folds)],
        "runs": [{key: value for key, value in run.items() if key != "scores"} for run in runs],
        "summary": {arm: summary(runs, arm, names, folds=folds) for arm in arms(plan.settings)},
        "differences": {
            f"{TRIPLET} - {baseline}": differences(runs, TRIPLET, baseline, names, folds=folds)
            for baseline in (CROSS_ENTROPY, FROZEN)
        },
    }


def _describe(plan: _Plan, fold: int, seed: int, runs: Sequence[JsonObject]) -> JsonObject:
    """One fold: its frames, what colour alone does on them, and which of them are hardest."""
    frames = plan.frames(fold, seed)
    test_M = frames.on("test")
    colour = colour_alone(frames, seed=seed)
    judged_MK, _ = one_kind(frames.labels_NK[test_M], frames.synthetic_N[test_M])
    trained = [run for run in runs if run["fold"] == fold and run["arm"] != FROZEN]
    columns = dict(zip(frames.label_names, judged_MK.T, strict=True))
    return {
        "frames": len(test_M),
        "groups": sorted(set(frames.groups_N[test_M].tolist())),
        "positives": {name: int((labels_M == 1).sum()) for name, labels_M in columns.items()},
        "colour_auc": {name: found and found["value"] for name, found in colour.items()},
        "hardest": {
            name: hardest([run["scores"][name] for run in trained if name in run["scores"]], labels_M, test_M)
            for name, labels_M in columns.items()
        },
    }


def _done(resume_from: Path | None, design: JsonObject) -> list[JsonObject]:
    if resume_from is None:
        return []
    state = read_checkpoint(resume_from).state
    if state.get("design") != design:
        raise TrainingFailed("other_run", "the checkpoint was written by another comparison")
    runs: list[JsonObject] = state["runs"]
    return runs


def _pulse(standing: Progress, report: Callable[[Event], None]) -> Callable[[Event], None]:
    """Of a single training only that it goes on: its checkpoints and series would drown the comparison's."""

    def relay(event: Event) -> None:
        if isinstance(event, Progress):
            report(standing)

    return relay


def _tell(run: JsonObject, number: int, report: Callable[[Event], None]) -> None:
    for measures in run["labels"].values():
        if measures["auc"] is not None:
            report(Metric(f"auc/{run['arm']}", number, measures["auc"]))


def _folder(work_dir: Path) -> Path:
    return work_dir / "comparison"


def _newest(work_dir: Path) -> Path | None:
    found = sorted(_folder(work_dir).glob("step-*"))
    return found[-1] if found else None
