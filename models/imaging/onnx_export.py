"""A detector as one ONNX file: bytes of frames in; logits, calibrated probabilities, maps and embedding out.

Computed in float32 whatever the version's own precision is; the spec lies in the file's metadata.
Shape suffixes: B frames, C channels, S side, K labels, D embedding, h w map grid.
"""

import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from models.artifacts import ModelSpec
from models.imaging.detector import DetectorOutput

INPUT = "frames"
OUTPUTS = ("logits", "probabilities", "cam", "embedding")
OPSET = 20


class CalibratedDetector(nn.Module):
    """What the file computes: the detector and the spec's calibration."""

    slope: torch.Tensor
    intercept: torch.Tensor

    def __init__(self, detector: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.detector = detector
        own = [spec.calibration[name] for name in spec.label_names]
        self.register_buffer("slope", torch.tensor([one.slope for one in own]))
        self.register_buffer("intercept", torch.tensor([one.intercept for one in own]))

    def forward(
        self, frames_BCSS: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read uint8 frames [B, 3, S, S], RGB; `OUTPUTS` [B, K], [B, K], [B, K, h, w] and [B, D], float32."""
        found: DetectorOutput = self.detector(frames_BCSS)
        probabilities_BK = torch.sigmoid(self.slope * found.logits_BK + self.intercept)
        return found.logits_BK, probabilities_BK, found.cam_BKhw, found.embedding_BD


def export_onnx(module: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Write `module`, built for `spec`, as one ONNX file with a batch of any size.

    Raises:
        torch.onnx.errors.OnnxExporterError: an operator of the module has no translation.
    """
    side, channels = spec.input.size_px, spec.input.channels
    # Of two frames: with one, the exporter would take the batch for a constant.
    example_BCSS = torch.zeros(2, channels, side, side, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own parts
        program = torch.onnx.export(
            CalibratedDetector(module, spec).eval(),
            (example_BCSS,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={"frames_BCSS": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter gave no program")
    program.model.metadata_props.update(_about(spec))
    # Weights inside: a second file beside the first would be lost on the way.
    program.save(path, external_data=False)
    onnx.checker.check_model(path)


def _about(spec: ModelSpec) -> dict[str, str]:
    side = spec.input.size_px
    return {
        "enteron.spec": spec.to_json(),
        "enteron.input": f"uint8 RGB, batch x 3 x {side} x {side}, 0 to 255",
        "enteron.resize_kernel": spec.input.resize_kernel,
        "enteron.precision": "float32",
        "enteron.labels": ",".join(spec.label_names),
        "enteron.notice": spec.intended_use,
    }
