"""Can colour alone read the synthetic frames? A histogram forest, trained and judged as a detector would be.

    python -m benchmarks.synthetic_colour_baseline --out benchmarks/results/synthetic_colour_baseline.json

Exits with 1 if the median area under the ROC curve is over the limit for polyp or inflammatory.
"""

import argparse
import json
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.imaging.colour_baseline import ColourBaseline, colour_histogram
from models.synthetic.frames import LABELS, draw_frames
from models.synthetic.ranges import Domain

LIMIT = 0.75
LESIONS = ("polyp", "bleeding", "inflammatory")


@dataclass(frozen=True)
class Sample:
    """Histograms [N, D], labels [N, K], lesion areas as shares of the field, seconds of CPU per frame."""

    histograms: NDArray[np.float32]
    labels: NDArray[np.int8]
    area_shares: dict[str, list[float]]
    draw_s: list[float]


def draw_sample(n: int, *, seed: int, domain: Domain) -> Sample:
    """Draw frames and keep only what is measured."""
    histograms, labels, draw_s = [], [], []
    area_shares: dict[str, list[float]] = {label: [] for label in LABELS}
    frames = draw_frames(n, seed=seed, domain=domain)
    while True:
        started = time.process_time()
        frame = next(frames, None)
        if frame is None:
            break
        draw_s.append(time.process_time() - started)
        histograms.append(colour_histogram(frame.rgb))
        labels.append([frame.labels[label] for label in LABELS])
        field_pixels = (frame.rgb.max(axis=2) >= 16).sum()
        for label, mask in frame.masks.items():
            area_shares[label].append(float(mask.sum() / field_pixels))
    return Sample(np.stack(histograms), np.array(labels, dtype=np.int8), area_shares, draw_s)


def measure(seed: int, *, train_frames: int, test_frames: int) -> dict[str, object]:
    """Train on one domain, judge on the other."""
    train = draw_sample(train_frames, seed=seed, domain="train")
    test = draw_sample(test_frames, seed=seed, domain="test")
    probabilities = (
        ColourBaseline(seed=seed).fit(train.histograms, train.labels).predict_proba(test.histograms)
    )
    return {
        "seed": seed,
        "auc": {
            label: round(float(roc_auc_score(test.labels[:, k], probabilities[:, k])), 4)
            for k, label in enumerate(LABELS)
        },
        "median_area_share": {
            label: round(median(train.area_shares[label] + test.area_shares[label]), 4) for label in LESIONS
        },
        "frames_per_cpu_s": round(1 / median(train.draw_s + test.draw_s), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--train-frames", type=int, default=1500)
    parser.add_argument("--test-frames", type=int, default=600)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs = [
        measure(seed, train_frames=options.train_frames, test_frames=options.test_frames)
        for seed in options.seeds
    ]
    medians = {label: median(run["auc"][label] for run in runs) for label in LABELS}
    passed = max(medians["polyp"], medians["inflammatory"]) <= LIMIT
    result = {
        "benchmark": "synthetic_colour_baseline",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
        "train_frames": options.train_frames,
        "test_frames": options.test_frames,
        "limit_auc": LIMIT,
        "median_auc": medians,
        "median_frames_per_cpu_s": median(run["frames_per_cpu_s"] for run in runs),
        "runs": runs,
        "passed": passed,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
