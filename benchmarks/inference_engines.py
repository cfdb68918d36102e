"""Frames a second of each inference engine, beside plain torch in float32, on the CPU.

    python -m benchmarks.inference_engines --out benchmarks/results/inference_engines.json

ResNet-18 and ResNet-50 detectors with drawn weights at 224 px; the network decides the work, not what it
has learnt. Every engine reads the same drawn frames in its passes and must agree with plain float32 before
it is timed. `channels_first` is plain torch without the memory order that Enteron always uses. int8 is
timed without its accuracy check, which needs a trained detector: its difference stands beside it.
"""

import os

# As in the runner, and before torch reads it.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.turns import machine, ratios, spread, take_turns
from models.imaging.detector import LesionDetector, build_detector
from models.imaging.engines import int8
from models.imaging.engines.choose import BUILDERS, TOLERANCE, largest_difference
from models.imaging.engines.kinds import KINDS, Answers, Engine, EngineRefused, Frames, PassShape
from models.imaging.preprocess import fit_square
from models.synthetic.frames import draw_frame
from tests.readers import reader_spec

CPU = torch.device("cpu")
PLAIN = "torch-fp32"
DRAWN = 16
# Compiling takes longest and in float32 gains least.
ENGINES = [*(name for name in KINDS if name != "torch-compiled-fp32"), "openvino-int8"]


def drawn(count: int, size: int) -> Frames:
    frames = [draw_frame(n, domain="test", labels=None, patient=n).rgb for n in range(min(count, DRAWN))]
    squares = np.stack([fit_square(rgb, size) for rgb in frames])
    return squares[np.arange(count) % len(squares)]


def detector(backbone: str) -> LesionDetector:
    torch.manual_seed(0)
    module = build_detector(backbone, {}, label_count=4).eval()
    for norm in (part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.running_mean, std=0.1)
        torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return module


def channels_first(backbone: str, shape: PassShape) -> Callable[[Frames], Answers]:
    """What torch does when nobody tells it about memory order."""
    module = detector(backbone)

    @torch.inference_mode()
    def read(frames_BHWC: Frames) -> Answers:
        frames_BCHW = torch.from_numpy(frames_BHWC).permute(0, 3, 1, 2).contiguous()
        return Answers(*(tensor.numpy() for tensor in module(frames_BCHW)))

    return read


def quantised(backbone: str, frames: Frames, shape: PassShape) -> Engine:
    spec = reader_spec(backbone, {}, size_px=shape.size_px)
    with patch.object(int8, "PROBABILITY_MOVED", 1.0):
        return int8.build(
            detector(backbone), spec, calibration_NHWC=frames, check_NHWC=frames, pass_frames=shape.frames
        )[0]


def built(
    backbone: str, names: list[str], frames: Frames, shape: PassShape
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Engines by name, and for each how long it took to build or why it could not be had."""
    engines: dict[str, Any] = {}
    account: dict[str, Any] = {}
    for name in names:
        started = time.perf_counter()
        try:
            if name == "openvino-int8":
                engines[name] = quantised(backbone, frames, shape)
            else:
                kind = KINDS[name]
                engines[name] = BUILDERS[kind.engine](detector(backbone), kind, shape, CPU)
        except EngineRefused as refusal:
            account[name] = {"refused": refusal.code}
        else:
            account[name] = {"build_s": time.perf_counter() - started}
    return engines, account


def probability_difference(found: Answers, expected: Answers) -> float:
    """Between logits taken as they are, without calibration."""
    pair = (1 / (1 + np.exp(-answers.logits_BK)) for answers in (found, expected))
    return float(np.abs(np.subtract(*pair)).max())


def measure(backbone: str, names: list[str], *, passes: int, rounds: int, shape: PassShape) -> dict[str, Any]:
    frames = drawn(passes * shape.frames, shape.size_px)
    engines, account = built(backbone, names, frames, shape)
    engines["channels_first"] = channels_first(backbone, shape)
    account["channels_first"] = {}
    first = np.ascontiguousarray(frames[: shape.frames])
    expected = engines[PLAIN](first)
    for name, engine in engines.items():
        difference = largest_difference(engine(first), expected)
        account[name] |= {
            "largest_difference": difference,
            "largest_probability_difference": probability_difference(engine(first), expected),
        }
        if name != "openvino-int8":
            assert difference <= TOLERANCE[KINDS[name].dtype if name in KINDS else "float32"], name

    def work(engine: Callable[[Frames], Answers]) -> Callable[[], None]:
        def read() -> None:
            for start in range(0, len(frames), shape.frames):
                engine(frames[start : start + shape.frames])

        return read

    wall, processor = take_turns({name: work(engine) for name, engine in engines.items()}, rounds=rounds)
    for name in engines:
        account[name] |= {
            "frames_per_s": len(frames) / spread(wall[name])["median"],
            "processor_ms_per_frame": 1000 * spread(processor[name])["median"] / len(frames),
            "times_plain_fp32": ratios(wall[PLAIN], wall[name]),
            "times_plain_fp32_by_processor": ratios(processor[PLAIN], processor[name]),
            "times_channels_first_fp32": ratios(wall["channels_first"], wall[name]),
        }
    return account


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--engines", nargs="+", default=ENGINES)
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--pass-frames", type=int, default=4)
    parser.add_argument("--passes", type=int, default=2, help="per engine and round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    shape = PassShape(chosen.pass_frames, chosen.size_px)
    before = machine() | {name: version(name) for name in ("openvino", "nncf")}
    names = [PLAIN, *(name for name in chosen.engines if name != PLAIN)]
    result: dict[str, Any] = {
        backbone: measure(backbone, names, passes=chosen.passes, rounds=chosen.rounds, shape=shape)
        for backbone in chosen.backbones
    }
    result |= {
        "size_px": chosen.size_px,
        "pass_frames": chosen.pass_frames,
        "frames_per_round": chosen.passes * chosen.pass_frames,
        "rounds": chosen.rounds,
        "environment": before,
        "load_average_after": os.getloadavg(),
    }
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
