"""Training: images a second of the shared loop on a data set, beside a bare loop on tensors in memory.

    python -m benchmarks.training_throughput --out benchmarks/results/training_throughput.json

The loop's side is `models.training.train` with the lesion detector's task on an ingested data set of drawn
frames, decoded to a file as in every training: batches, augmentation, precision, clipping, the clock,
events, the evaluation of an epoch and the copy of its best weights. The bare side is what one would write
by hand: the same batches from one tensor, the same augmentation, loss, optimiser and precision, and nothing
else. Both start from the same weights and random numbers; their first losses must be equal before anything
is timed.
"""

import os

# As in the runner, and before torch reads it.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.turns import machine, ratios, spread, take_turns
from models.devices import autocast, fastest_dtype, place
from models.events import Event, Metric
from models.imaging.archive import ZipMembers
from models.imaging.augment import Augmentation, augment
from models.imaging.datasets import FramesDataset
from models.imaging.detector import build_detector, masked_bce
from models.imaging.ingest import ingest_frames
from models.imaging.lesion_task import LesionTask, TaskSettings
from models.imaging.prepare import PreparedFrames, prepare
from models.optimisation import make_optimiser
from models.synthetic.dataset import write_dataset_zip
from models.synthetic.frames import draw_frames
from models.training import Completed, TrainingConfig, train

CPU = torch.device("cpu")
SEED = 0
RATE = 1e-3


def prepared(folder: Path, frames: int, size_px: int) -> tuple[PreparedFrames, float]:
    """Frames as a training gets them, and how long decoding took."""
    archive = folder / "frames.zip"
    write_dataset_zip(archive, draw_frames(frames, seed=SEED, domain="train", frames_per_patient=4))
    (folder / "dataset").mkdir()
    with archive.open("rb") as handle:
        ingest_frames(ZipMembers(handle), "labels-csv", {}, out_dir=folder / "dataset")
    started = time.perf_counter()
    with FramesDataset(folder / "dataset") as dataset:
        made = prepare(
            dataset,
            size_px=size_px,
            fractions={"train": 0.8, "tune": 0.1, "test": 0.1},
            seed=SEED,
            work_dir=folder,
            report=lambda event: None,
            should_stop=lambda: False,
        )
    return made, time.perf_counter() - started


class Sides:
    """Both ways to take the same steps from the same start."""

    def __init__(self, frames: PreparedFrames, chosen: argparse.Namespace, folder: Path) -> None:
        self._frames, self._folder = frames, folder
        self.batch_size, self.steps = chosen.batch_size, chosen.steps
        self.dtype = fastest_dtype(CPU).dtype
        torch.manual_seed(SEED)
        self._detector = place(build_detector(chosen.backbone, {}, len(frames.label_names)), CPU)
        self._start = {name: tensor.clone() for name, tensor in self._detector.state_dict().items()}
        # As somebody would hold it who has the memory.
        self._pixels_NCHW = torch.from_numpy(np.array(frames.pixels_NHWC)).permute(0, 3, 1, 2)
        self._labels_NK = torch.from_numpy(frames.labels_NK)
        self._plan = self._task().batches(0, np.random.default_rng([SEED, 0]))

    def shared_loop(self) -> float:
        """One epoch of `train`; returns the loss of its first step."""
        self._detector.load_state_dict(self._start)
        losses: list[float] = []

        def hear(event: Event) -> None:
            if isinstance(event, Metric) and event.name == "loss":
                losses.append(event.value)

        config = TrainingConfig(
            epochs=1,
            learning_rate=RATE,
            optimiser="adamw",
            schedule="constant",
            precision=self.dtype,
            seed=SEED,
            log_every_steps=1,
        )
        outcome = train(self._task(), config, self._folder, device=CPU, report=hear)
        assert isinstance(outcome, Completed)
        assert outcome.steps == self.steps
        return losses[0]

    def bare_loop(self) -> float:
        """The same steps by hand; returns the loss of the first one."""
        self._detector.load_state_dict(self._start)
        self._detector.train()
        torch.manual_seed(SEED)
        how = {"learning_rate": RATE, "momentum": 0.9, "weight_decay": 1e-4}
        optimiser = make_optimiser(self._detector, "adamw", **how)
        losses = []
        for batch in self._plan:
            frames_BCHW, _ = augment(self._pixels_NCHW[torch.from_numpy(batch)], Augmentation())
            with autocast(CPU, self.dtype):
                output = self._detector(frames_BCHW.contiguous(memory_format=torch.channels_last))
                loss = masked_bce(output.logits_BK, self._labels_NK[batch])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return losses[0].item()

    def _task(self) -> LesionTask:
        return LesionTask(
            self._detector,
            self._frames.pixels_NHWC,
            self._frames.labels_NK,
            train_N=self._frames.on("train"),
            tune_N=self._frames.on("tune"),
            coverage=None,
            settings=TaskSettings(
                batch_size=self.batch_size,
                steps_per_epoch=self.steps,
                augmentation=Augmentation(),
                map_weight=0.0,
                triplet=None,
            ),
            device=CPU,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=160, help="of the data set, a tenth of them tunes")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    before = machine()
    with TemporaryDirectory() as name:
        frames, decode_s = prepared(Path(name), chosen.frames, chosen.size_px)
        sides = Sides(frames, chosen, Path(name))
        losses = {"shared_loop": sides.shared_loop(), "bare_loop": sides.bare_loop()}
        assert losses["shared_loop"] == losses["bare_loop"], losses
        candidates = {"shared_loop": sides.shared_loop, "bare_loop": sides.bare_loop}
        wall, processor = take_turns(candidates, rounds=chosen.rounds)
    images = chosen.steps * chosen.batch_size
    result: dict[str, Any] = {
        "images_per_s": {side: images / spread(wall[side])["median"] for side in candidates},
        "loop_of_bare": ratios(wall["bare_loop"], wall["shared_loop"]),
        "loop_of_bare_by_processor": ratios(processor["bare_loop"], processor["shared_loop"]),
        "first_loss": losses["bare_loop"],
        "tune_frames_evaluated": len(frames.on("tune")),
        "decoding_once_frames_per_s": chosen.frames / decode_s,
        "network": f"{chosen.backbone} at {chosen.size_px} px, {sides.dtype}",
        "batch_size": chosen.batch_size,
        "steps": chosen.steps,
        "rounds": chosen.rounds,
        "environment": before,
        "load_average_after": os.getloadavg(),
    }
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
