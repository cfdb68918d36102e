"""What a MONAI bundle of a detector carries as `scripts/reader.py`.

It travels without the rest of Enteron, so it imports nothing of ours but `preprocess`, which travels with it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image

from .preprocess import fit_square  # relative: the bundle calls the package `scripts`


class ReadFrame:
    """Transform: an image file as `{"image": float32 [3, S, S] in 0..1, "name"}`, resized as in training."""

    def __init__(self, size_px: int) -> None:
        self._size_px = size_px

    def __call__(self, path: str) -> dict[str, Any]:
        with Image.open(path) as image:
            square_SSC = fit_square(np.asarray(image.convert("RGB")), self._size_px)
        image_CSS = torch.from_numpy(square_SSC).permute(2, 0, 1).float() / 255
        return {"image": image_CSS, "name": Path(path).name}


class OnnxDetector(torch.nn.Module):
    """The detector, computed by onnxruntime on the CPU; it has no parameters to train."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def forward(self, frames_BCSS: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities float32 [B, K] of frames [B, 3, S, S] in 0..1."""
        bytes_BCSS = (frames_BCSS * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        (probabilities_BK,) = self._session.run(["probabilities"], {"frames": bytes_BCSS})
        return torch.from_numpy(probabilities_BK).to(frames_BCSS.device)


def is_positive(probability: float, threshold: float) -> bool:
    """As in the service: compared in float32, and a threshold of 1 turns its label off."""
    limit = np.float32(threshold)
    return bool(limit < 1 and np.float32(probability) >= limit)


def write_findings(
    network: torch.nn.Module, frames: Iterable[Mapping[str, Any]], spec_path: str, target: str
) -> None:
    """Read every frame and write, per frame, the probability and the decision of each label, as JSON."""
    spec = json.loads(Path(spec_path).read_text())
    names = [label["name"] for label in spec["labels"]]
    thresholds = spec["operating_points"][spec["default_operating_point"]]
    findings = []
    for frame in frames:
        probabilities = dict(zip(names, network(frame["image"][None])[0].tolist(), strict=True))
        positive = {name: is_positive(value, thresholds[name]) for name, value in probabilities.items()}
        findings.append({"name": frame["name"], "probabilities": probabilities, "positive": positive})
    written = {"notice": "Research use. Not for diagnosis.", "frames": findings}
    Path(target).write_text(json.dumps(written, indent=1))
