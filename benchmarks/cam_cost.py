"""What maps and embeddings cost: the detector beside its bare backbone, pooling and dense layer.

    python -m benchmarks.cam_cost --out benchmarks/results/cam_cost.json

ResNet-18 and ResNet-50 at 224 px in plain torch, float32 and bfloat16, on the CPU; both sides read the same
frames through the same normalisation and must give the same logits before they are timed. The difference is
the einsum of the map and what is handed out.
"""

import os

# As in the runner, and before torch reads it.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.turns import machine, ratios, spread, take_turns
from models.devices import Dtype, autocast, place
from models.imaging.detector import LesionDetector, build_detector

CPU = torch.device("cpu")


def bare(detector: LesionDetector, frames_BCHW: torch.Tensor) -> torch.Tensor:
    """Logits and nothing else, in the detector's own precisions."""
    features_BDhw = detector.backbone(detector.normalise(frames_BCHW)).float()
    with torch.autocast("cpu", enabled=False):
        return detector.head(features_BDhw.mean(dim=(2, 3)))


def measure(backbone: str, dtype: Dtype, *, frames: int, size_px: int, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    detector = place(build_detector(backbone, {}, label_count=4).eval(), CPU)
    shape = (frames, size_px, size_px, 3)
    frames_BCHW = torch.randint(0, 256, shape, dtype=torch.uint8).permute(0, 3, 1, 2)

    def inferring(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with torch.inference_mode(), autocast(CPU, dtype):
                return call()

        return run

    candidates = {
        "bare": inferring(lambda: bare(detector, frames_BCHW)),
        "detector": inferring(lambda: detector(frames_BCHW)),
    }
    assert torch.equal(candidates["bare"](), candidates["detector"]().logits_BK)
    wall, processor = take_turns(candidates, rounds=rounds)
    return {
        "bare_frames_per_s": frames / spread(wall["bare"])["median"],
        "detector_frames_per_s": frames / spread(wall["detector"])["median"],
        "detector_of_bare_time": ratios(wall["detector"], wall["bare"]),
        "detector_of_bare_processor_time": ratios(processor["detector"], processor["bare"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    before = machine()
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16")
    how = {"frames": chosen.frames, "size_px": chosen.size_px, "rounds": chosen.rounds}
    result: dict[str, Any] = {
        backbone: {dtype: measure(backbone, dtype, **how) for dtype in dtypes}
        for backbone in chosen.backbones
    }
    result |= how | {"environment": before, "load_average_after": os.getloadavg()}
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
