"""The lesion detector on real frames: AUC on foreign blocks beside that of colour alone.

    python -m benchmarks.real_frames --out benchmarks/results/real_frames.json

Ingests the bleeding frames of WCEBleedGen from `../shared/data/wce` through the public API, then trains once
per seed. All hold out the same contiguous block of `source_index`; other blocks may be easier or harder.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import environment, finished
from service.client.client import Enteron
from service.client.upload import zip_folder
from service.launcher import running
from service.settings import Settings

FRAMES = Path(__file__).parents[2] / "shared/data/wce"
MODEL = "lesion-detector"
LABEL = "bleeding"


def measure(client: Enteron, dataset: str, backbone: str, params: dict[str, Any]) -> dict[str, Any]:
    """Train once; what was measured on the block held out."""
    trained = finished(client, client.train(MODEL, dataset, backbone=backbone, params=params))
    metrics = client.model_version(trained["model"], trained["version"])["metrics"]
    label = metrics["labels"][LABEL]
    return {
        "seed": params["seed"],
        "test_frames": metrics["frames"],
        "test_groups": metrics["groups"],
        "auc": label["auc"],
        "colour_auc": metrics["colour_baseline"][LABEL],
        "pointing": label["pointing"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if not FRAMES.is_dir():
        sys.exit(f"The frames are not here: {FRAMES}")
    params = {"size_px": chosen.size_px, "epochs": chosen.epochs}
    before = environment()
    with TemporaryDirectory() as folder, running(Settings(home=Path(folder)), print) as machine:
        client = machine.client
        archive = Path(folder, "wce.zip")
        zip_folder(FRAMES, archive)
        file_id = client.upload(archive)["id"]
        made = finished(client, client.add_dataset("wce", [file_id], format="wcebleedgen"))
        runs = [
            measure(client, made["dataset_id"], chosen.backbone, {**params, "seed": seed})
            for seed in chosen.seeds
        ]
    result = {
        "benchmark": "real_frames",
        "environment": before,
        "network": {"backbone": chosen.backbone, **params},
        "auc_median": median(run["auc"]["value"] for run in runs),
        "colour_auc_median": median(run["colour_auc"]["value"] for run in runs),
        "runs": runs,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
