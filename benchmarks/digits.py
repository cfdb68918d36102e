"""Why convolution and pooling help: a small CNN against an MLP on digits that are moved by 0 to 2 pixels.

    python -m benchmarks.digits --out benchmarks/results/digits.json

Both see scikit-learn's 8 x 8 digits in the middle of 12 x 12 frames and learn with the shared loop; then the
digits of the test side are moved in each of eight directions. The CNN has no more parameters than the MLP.
Shape suffixes: N frames, H W pixels, K classes.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from benchmarks.machine import environment
from models.backbones.mlp import MLP
from models.training import StepLoss, TrainingConfig, train

MARGIN_PX = 2
SIDE_PX = 8 + 2 * MARGIN_PX
CLASSES = 10
DIRECTIONS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
TEST, TUNE = 500, 200


def cnn() -> nn.Module:
    """Two convolutions, each with a maximum over 2 x 2; then the strongest answer anywhere decides."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    )


def mlp() -> nn.Module:
    """One hidden layer over all pixels."""
    return nn.Sequential(nn.Flatten(), MLP((SIDE_PX**2, 20, CLASSES)))


NETWORKS = {"cnn": cnn, "mlp": mlp}


@dataclass(frozen=True)
class Digits:
    """Frames float32 [N, 1, 12, 12] in 0..1 and their classes, by side."""

    frames: Mapping[str, torch.Tensor]
    classes: Mapping[str, torch.Tensor]


def read_digits(seed: int) -> Digits:
    """The bundled digits, divided at random: who wrote them is not known."""
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    rows = dict(zip(("test", "tune", "train"), np.split(order, [TEST, TEST + TUNE]), strict=True))
    frames = torch.from_numpy(found.images).float()[:, None] / 16
    padded = functional.pad(frames, [MARGIN_PX] * 4)
    classes = torch.from_numpy(found.target).long()
    return Digits(
        {side: padded[row] for side, row in rows.items()}, {side: classes[row] for side, row in rows.items()}
    )


class DigitsTask:
    """Cross-entropy on shuffled digits that stay where they are."""

    monitor = "tune_accuracy"

    def __init__(self, module: nn.Module, digits: Digits, *, batch_size: int = 64) -> None:
        self.module = module
        self._digits, self._batch_size = digits, batch_size

    def batches(self, epoch: int, rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
        order = rng.permutation(len(self._digits.classes["train"]))
        return [order[start : start + self._batch_size] for start in range(0, len(order), self._batch_size)]

    def loss(self, module: nn.Module, batch: np.ndarray[Any, Any]) -> StepLoss:
        logits_NK = module(self._digits.frames["train"][batch])
        return StepLoss(functional.cross_entropy(logits_NK, self._digits.classes["train"][batch]))

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        return {"tune_accuracy": accuracy(module, self._digits.frames["tune"], self._digits.classes["tune"])}


def accuracy(module: nn.Module, frames: torch.Tensor, classes: torch.Tensor) -> float:
    with torch.no_grad():
        return (module(frames).argmax(dim=1) == classes).float().mean().item()


def accuracy_when_moved(module: nn.Module, digits: Digits, distance_px: int) -> float:
    """Mean over the directions; nothing of a digit leaves the frame."""
    moves = [(0, 0)] if distance_px == 0 else DIRECTIONS
    moved = [
        torch.roll(digits.frames["test"], (y * distance_px, x * distance_px), dims=(2, 3)) for y, x in moves
    ]
    return float(np.mean([accuracy(module, frames, digits.classes["test"]) for frames in moved]))


def measure(name: str, seed: int, *, epochs: int) -> dict[str, Any]:
    """Train one network; its size, and its accuracy by how far the digits are moved."""
    torch.manual_seed(seed)
    digits, module = read_digits(seed), NETWORKS[name]()
    config = TrainingConfig(
        epochs=epochs, learning_rate=0.1, weight_decay=1e-4, precision="float32", seed=seed,
        checkpoint_every_s=1e9,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        train(DigitsTask(module, digits), config, Path(folder), device=torch.device("cpu"))
    return {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "accuracy": [accuracy_when_moved(module, digits, distance) for distance in range(MARGIN_PX + 1)],
    }


def compare(seeds: Sequence[int], *, epochs: int) -> dict[str, Any]:
    """Per network: parameters, each seed's accuracies at 0, 1 and 2 pixels, and their medians."""
    result = {}
    for name in NETWORKS:
        runs = [measure(name, seed, epochs=epochs) for seed in seeds]
        by_seed = [run["accuracy"] for run in runs]
        result[name] = {
            "parameters": runs[0]["parameters"],
            "accuracy_by_seed": by_seed,
            "median_accuracy": [median(values) for values in zip(*by_seed, strict=True)],
        }
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    before = environment()
    result = {
        "what": f"accuracy on {TEST} digits moved by 0, 1 and 2 pixels",
        "epochs": chosen.epochs,
        "seeds": chosen.seeds,
        **compare(chosen.seeds, epochs=chosen.epochs),
        "environment": before,
    }
    text = json.dumps(result, indent=1)
    sys.stdout.write(f"{text}\n")
    if chosen.out is not None:
        chosen.out.write_text(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
