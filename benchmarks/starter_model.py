"""Train the detector that Enteron ships, and measure the recipe on sources that it has not seen.

    python -m benchmarks.starter_model --out service/starter --work /var/tmp/starter

Real bleeding frames (`../shared/data/wce`, CC BY 4.0) and frames drawn by code train one network; what one
source does not label is unknown there. Cross-validation first: contiguous folds of `source_index` and folds
of drawn patients are judged by networks that have seen none of them; calibration and thresholds are chosen
on these out-of-fold answers. Then one network learns from all frames, a tune side apart, and is written with
its spec, and with the figures of the cross-validation.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import environment
from models.artifacts import drawn_twin, save_weights
from models.imaging import cam
from models.imaging.archive import FolderMembers, ZipMembers
from models.imaging.calibration import DEFAULT_OPERATING_POINT, OFF, calibrated
from models.imaging.decode import decode_frame
from models.imaging.evaluation import colour_baseline, measure
from models.imaging.evidence import mean_area, one_kind
from models.imaging.folds import fold_sides, number_folds
from models.imaging.ingest import ingest_frames
from models.imaging.lesion_params import LesionDetectorParams
from models.imaging.lesion_spec import calibrate, with_evidence
from models.imaging.lesion_training import Fitted, fit
from models.imaging.localisation import measure_maps
from models.imaging.mixture import FramesMixture, open_frames
from models.imaging.predictor import Predictions, Predictor
from models.imaging.prepare import decode, divide, drawn_lesions, prepared, read_table
from models.imaging.preprocess import fit_square
from models.schema import decode as decode_json
from models.synthetic.dataset import write_dataset_zip
from models.synthetic.frames import draw_frames

DATA = Path(__file__).parents[2] / "shared/data"
FOLDS, BLOCK = 5, 50
DRAWN_FRAMES, DRAWN_SEED = 1_000, 11
WITH_SYNTHETIC = "with-synthetic"
NAME = "starter-detector"  # of its own: a training that names none adds to `lesion-detector`
# What was tried, and what each step gave: docs/starter-model.md.
RECIPE: dict[str, Any] = {
    "backbone": "resnet10",
    "backbone_params": {"width": 0.5, "output_stride": 16},
    "size_px": 112,
    "epochs": 7,
    "steps_per_epoch": 90,
    "batch_size": 32,
    "learning_rate": 0.002,
    "weight_decay": 0.05,
    "average_decay": 0.99,
    "pooling": "log-sum-exp",
    "colour": "per-frame",
    "map_weight": 0.3,
    "cell_weight": 1.0,
    "tune_fraction": 0.1,
    "licence": "trained on WCEBleedGen (CC BY 4.0) and on frames drawn by Enteron",
}
LIMITATIONS = (
    "Bleeding was measured on frames of one published collection, on sources left out of training; polyp, "
    "inflammatory and content on frames drawn by code alone, so they are off by default. Other capsules, "
    "sites and patients may differ. Angioectasia is not among the labels."
)
INTENDED_USE = "A first look at one's own capsule frames, for research. Not for diagnosis."


def ingest(work: Path) -> Path:
    """The two sources as a folder of numbered datasets."""
    made, folder = work / "sources", work / "sources.new"
    if made.is_dir():
        return made
    for name in ("0", "1"):
        (folder / name).mkdir(parents=True)
    members = FolderMembers(DATA / "wce")
    ingest_frames(members, "wcebleedgen", {"block_size": BLOCK}, out_dir=folder / "0")
    archive = work / "drawn.zip"
    frames = draw_frames(DRAWN_FRAMES, seed=DRAWN_SEED, domain="train", size=224)
    write_dataset_zip(archive, frames)
    with archive.open("rb") as opened:
        ingest_frames(ZipMembers(opened), "synthetic", {}, out_dir=folder / "1")
    return folder.rename(made)


class Trainer:
    """Both sources decoded once."""

    def __init__(self, dataset: FramesMixture, settings: LesionDetectorParams, work: Path) -> None:
        self.dataset, self.settings, self.work = dataset, settings, work
        self.table = read_table(dataset)
        self.fold_N = number_folds(self.table, "contiguous", count=FOLDS, seed=0)
        nothing: Callable[[object], None] = lambda event: None  # noqa: E731
        self.pixels_NHWC = decode(
            dataset, size_px=settings.size_px, work_dir=work, report=nothing, should_stop=lambda: False
        )

    def fit(self, fold: int, seed: int) -> Fitted:
        settings = replace(self.settings, seed=seed)
        sides_N = fold_sides(
            self.table,
            self.fold_N,
            fold,
            order="contiguous",
            tune_fraction=settings.tune_fraction,
            seed=seed,
        )
        division = divide(self.table, sides_N, seed=seed)
        frames = prepared(division, self.pixels_NHWC, drawn_lesions(self.dataset, division))
        fitted = fit(frames, settings, self.work, dataset=self.dataset)
        assert isinstance(fitted, Fitted)
        return fitted

    def out_of_fold(self, seed: int) -> tuple[Predictions, Predictions, Fitted]:
        """Answers on every frame by a network that has not seen its group; and those of drawn weights."""
        found, chance, fitted = [], [], None
        for fold in range(FOLDS):
            fitted = self.fit(fold, seed)
            rows = np.flatnonzero(self.fold_N == fold)
            found.append((rows, fitted.predictor().predict(self.pixels_NHWC, rows_B=rows)))
            twin = Predictor(drawn_twin(fitted.spec), fitted.spec)
            chance.append((rows, twin.predict(self.pixels_NHWC, rows_B=rows)))
            print(f"seed {seed}, fold {fold + 1} of {FOLDS}", file=sys.stderr, flush=True)
        assert fitted is not None
        return joined(found), joined(chance), fitted

    def judged(self) -> tuple[np.ndarray, tuple[Any, ...]]:
        return one_kind(self.table.labels_NK, self.table.synthetic_N)


def joined(parts: list[tuple[np.ndarray, Predictions]]) -> Predictions:
    """The folds' answers in the order of the frames."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    arrays = {
        name: np.concatenate([getattr(found, name) for _, found in parts])[order]
        for name in ("scores_BK", "probabilities_BK", "positive_BK", "cam_BKhw", "embedding_BD")
    }
    return replace(parts[0][1], **arrays)


def by_fold(trainer: Trainer, found: Predictions, label: str) -> list[dict[str, float]]:
    """AUC and pointing of one label on each fold alone."""
    labels_NK, _ = trainer.judged()
    column = found.labels.index(label)
    told = []
    for fold in range(FOLDS):
        rows = np.flatnonzero((trainer.fold_N == fold) & (labels_NK[:, column] >= 0))
        own = pick(found, rows)
        metrics = measure(own, labels_NK[rows], trainer.table.groups_N[rows], operating_points={}, seed=0)
        maps = measure_maps(
            own,
            labels_NK[rows],
            trainer.table.groups_N[rows],
            trainer.dataset,
            rows,
            size_px=trainer.settings.size_px,
        )[label]
        told.append(
            {
                "frames": len(rows),
                "auc": metrics["labels"][label]["auc"]["value"],
                "pointing": None if maps is None else maps["pointing"]["rate"],
            }
        )
    return told


def pick(found: Predictions, rows: np.ndarray) -> Predictions:
    names = ("scores_BK", "probabilities_BK", "positive_BK", "cam_BKhw", "embedding_BD")
    return replace(found, **{name: getattr(found, name)[rows] for name in names})


def ship(fitted: Fitted, spec_oof: Any, kinds: dict[str, Any]) -> Any:
    """The final spec: thresholds of the cross-validation, labels without real evidence off."""
    points = {
        point: {name: value if kinds[name] == "real" else OFF for name, value in limits.items()}
        for point, limits in spec_oof.operating_points.items()
    }
    points[WITH_SYNTHETIC] = dict(spec_oof.operating_points[DEFAULT_OPERATING_POINT])
    spec = replace(
        fitted.spec,
        name=NAME,
        calibration=spec_oof.calibration,
        operating_points=points,
        intended_use=INTENDED_USE,
        limitations=LIMITATIONS,
    )
    return with_evidence(spec, kinds)


def false_positives(trainer: Trainer, found: Predictions, spec: Any) -> dict[str, float]:
    """How often each label is found on real frames without bleeding, out of fold, with all labels on."""
    bleeding = list(trainer.table.label_names).index("bleeding")
    rows = np.flatnonzero(~trainer.table.synthetic_N & (trainer.table.labels_NK[:, bleeding] == 0))
    calm = pick(found, rows)
    limits = spec.operating_points[WITH_SYNTHETIC]
    return {
        name: float((calibrated(calm.scores_BK[:, k], spec.calibration[name]) >= limits[name]).mean())
        for k, name in enumerate(calm.labels)
    }


def on_colonoscopy(predictor: Predictor, size_px: int) -> dict[str, Any]:
    """Where the polyp map points on colonoscopy frames with masks: another domain, so no ranking is told."""
    column = predictor.spec.label_names.index("polyp")
    hits, shares, overlaps = [], [], []
    for path in sorted((DATA / "polyp" / "images").iterdir()):
        mask_path = next((DATA / "polyp" / "masks").glob(f"{path.stem}.*"), None)
        if mask_path is None:
            continue
        mask = np.asarray(Image.open(mask_path).convert("L")) > 0
        if not mask.any():
            continue
        square = fit_square(decode_frame(path.read_bytes()), size_px)
        lesion = fit_square(np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2), size_px)[:, :, 0] >= 128
        map_hw = predictor.predict(square[None]).cam_BKhw[0, column]
        x, y = cam.peak(map_hw, size_px)
        region = cam.region(map_hw, size_px)
        hits.append(lesion[min(int(y), size_px - 1), min(int(x), size_px - 1)])
        shares.append(lesion.mean())
        overlaps.append((region & lesion).sum() / max((region | lesion).sum(), 1))
    return {
        "frames": len(hits),
        "pointing": float(np.mean(hits)),
        "lesion_share": float(np.mean(shares)),
        "overlap": float(np.mean(overlaps)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, spec and metrics")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for decoded frames; may be thrown away"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--param", nargs="*", default=[], metavar="NAME=JSON")
    chosen = parser.parse_args()
    if not (DATA / "wce").is_dir():
        sys.exit(f"The frames are not here: {DATA}")
    changed = {name: json.loads(value) for name, _, value in (text.partition("=") for text in chosen.param)}
    before = environment()
    chosen.work.mkdir(parents=True, exist_ok=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    settings = decode_json(LesionDetectorParams, RECIPE | changed)
    with open_frames(ingest(chosen.work)) as dataset:
        trainer = Trainer(dataset, settings, chosen.work)
        labels_NK, kinds_K = trainer.judged()
        seeds = {}
        for seed in chosen.seeds:
            found, chance, fitted = trainer.out_of_fold(seed)
            seeds[seed] = by_fold(trainer, found, "bleeding")
            print(json.dumps({seed: seeds[seed]}), file=sys.stderr, flush=True)
            if seed == chosen.seeds[0]:
                first = found, chance, fitted
        found, chance, fitted = first
        kinds = dict(zip(found.labels, kinds_K, strict=True))
        spec_oof, _ = calibrate(fitted.spec, labels_NK, found.scores_BK)
        final = trainer.fit(FOLDS, chosen.seeds[0])
        spec = ship(final, spec_oof, kinds)
        metrics = told(trainer, found, chance, spec)
        metrics["cross_validation"] = {
            "folds": FOLDS,
            "of": "contiguous source_index blocks (bleeding), drawn patients (the others)",
            "bleeding_by_seed": seeds,
            "mean_auc": float(np.mean([fold["auc"] for told_ in seeds.values() for fold in told_])),
            "worst_fold_auc": float(min(fold["auc"] for told_ in seeds.values() for fold in told_)),
            "mean_pointing": float(np.mean([fold["pointing"] for told_ in seeds.values() for fold in told_])),
        }
        colour = colour_alone(trainer)
        metrics["cross_validation"]["colour_alone"] = colour
        metrics["colour_baseline"] = {
            "bleeding": {"value": float(np.mean(colour)), "low": None, "high": None, "replicates": 0}
        }
        metrics["cross_validated"] = True
        metrics["beyond"] = {
            "cross_validation": metrics.pop("cross_validation"),
            "false_positives_on_real_frames": false_positives(trainer, found, spec),
            "polyp_maps_on_colonoscopy": on_colonoscopy(Predictor(final.detector, spec), settings.size_px),
        }
        metrics["training"] = {"params": RECIPE | changed, "environment": before}
    sha256 = save_weights(final.detector, chosen.out / "weights.safetensors")
    (chosen.out / "spec.json").write_text(spec.to_json() + "\n")
    (chosen.out / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    print(json.dumps({"sha256": sha256, **metrics["beyond"]["cross_validation"]}, indent=1))
    return 0


def told(trainer: Trainer, found: Predictions, chance: Predictions, spec: Any) -> dict[str, Any]:
    """The out-of-fold figures, in the form that every version's metrics have."""
    labels_NK, kinds_K = trainer.judged()
    groups_N, rows_N = trainer.table.groups_N, np.arange(len(labels_NK))
    columns = [
        calibrated(found.scores_BK[:, k], spec.calibration[name]) for k, name in enumerate(found.labels)
    ]
    sure = replace(found, probabilities_BK=np.stack(columns, axis=1).astype(np.float32))
    metrics = measure(sure, labels_NK, groups_N, operating_points=spec.operating_points, seed=0)
    size = {"size_px": trainer.settings.size_px}
    maps = measure_maps(found, labels_NK, groups_N, trainer.dataset, rows_N, **size)
    drawn = measure_maps(chance, labels_NK, groups_N, trainer.dataset, rows_N, **size)
    for (name, entry), kind in zip(metrics["labels"].items(), kinds_K, strict=True):
        entry["evidence"] = kind
        entry["pointing"] = maps[name] and maps[name]["pointing"]
        entry["map"] = maps[name] and maps[name] | {"random_weights": drawn[name]}
    return metrics | {"mean_auc": mean_area(metrics["labels"])}


def colour_alone(trainer: Trainer) -> list[float]:
    """AUC of bleeding by colour histograms on each fold."""
    labels_NK, _ = trainer.judged()
    column = list(trainer.table.label_names).index("bleeding")
    areas = []
    for fold in range(FOLDS):
        known = labels_NK[:, column] >= 0
        judged = colour_baseline(
            trainer.pixels_NHWC,
            labels_NK[:, [column]],
            trainer.table.groups_N,
            train_N=np.flatnonzero(known & (trainer.fold_N != fold)),
            test_N=np.flatnonzero(known & (trainer.fold_N == fold)),
            label_names=["bleeding"],
            seed=0,
        )
        areas.append(judged["bleeding"]["value"])
    return areas


if __name__ == "__main__":
    sys.exit(main())
