"""The demo's detector on drawn frames of other hues, textures and shapes than it learnt from.

    python -m benchmarks.unseen_synthetic --out benchmarks/results/unseen_synthetic.json

Draws, ingests, trains and evaluates through the public API, as `make demo` does, once per training seed;
every version is judged on the same frames of the test domain. Exits with 1 if the median over the seeds
misses a bar.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import environment, finished
from service.client.client import Enteron
from service.commands.demo import BACKBONE, PARAMS, RECIPE, TRAIN_FRAMES, TRAIN_SEED
from service.launcher import running
from service.settings import Settings

UNSEEN_SEED = 900
LEAST_AUC = 0.9
LEAST_POINTING = 0.8


def drawn_dataset(client: Enteron, *, domain: str, seed: int, frames: int) -> str:
    drawn = finished(client, client.synthesize(seed=seed, frames=frames, domain=domain))
    name = f"{domain}-{seed}"
    made = finished(client, client.add_dataset(name, [drawn["file_id"]], format="synthetic"))
    return str(made["dataset_id"])


def measure(client: Enteron, learnt: str, unseen: str, params: dict[str, Any]) -> dict[str, Any]:
    """Train once; AUC and pointing per label on the unseen frames."""
    started = time.perf_counter()
    trained = finished(client, client.train(RECIPE, learnt, backbone=BACKBONE, params=params))
    train_s = time.perf_counter() - started
    result = finished(client, client.evaluate(trained["model"], trained["version"], unseen))
    labels = result["metrics"]["labels"]
    return {
        "seed": params["seed"],
        "train_s": round(train_s, 1),
        "auc": {name: entry["auc"] for name, entry in labels.items()},
        "pointing": {name: entry["pointing"] for name, entry in labels.items()},
    }


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median over the seeds, by label."""
    labels = runs[0]["auc"]
    return {
        "auc": {name: median(run["auc"][name]["value"] for run in runs) for name in labels},
        "pointing": {name: median(run["pointing"][name]["rate"] for run in runs) for name in labels},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train-frames", type=int, default=TRAIN_FRAMES)
    parser.add_argument("--epochs", type=int, default=PARAMS["epochs"])
    parser.add_argument("--unseen-frames", type=int, default=600)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    params = {**PARAMS, "epochs": chosen.epochs}
    before = environment()
    with TemporaryDirectory() as folder, running(Settings(home=Path(folder)), print) as machine:
        client = machine.client
        learnt = drawn_dataset(client, domain="train", seed=TRAIN_SEED, frames=chosen.train_frames)
        unseen = drawn_dataset(client, domain="test", seed=UNSEEN_SEED, frames=chosen.unseen_frames)
        runs = [measure(client, learnt, unseen, {**params, "seed": seed}) for seed in chosen.seeds]
    medians = summary(runs)
    passed = min(medians["auc"].values()) >= LEAST_AUC and min(medians["pointing"].values()) >= LEAST_POINTING
    result = {
        "benchmark": "unseen_synthetic",
        "environment": before,
        "network": {"backbone": BACKBONE, **params},
        "train_frames": chosen.train_frames,
        "unseen_frames": chosen.unseen_frames,
        "bars": {"auc": LEAST_AUC, "pointing": LEAST_POINTING},
        "median": medians,
        "runs": runs,
        "passed": passed,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
