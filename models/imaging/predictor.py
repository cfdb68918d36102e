"""Predictor: frames in; probabilities, decisions, maps and embeddings out; stateless between calls.

Shape suffixes: B frames, H W frame, C channels, K labels, D embedding, h w map grid.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax

from models.artifacts import ArtifactRefused, ModelSpec, build_module, load_weights
from models.devices import autocast, place
from models.imaging.detector import DetectorOutput
from models.imaging.preprocess import KERNEL

Float32 = npt.NDArray[np.float32]
CHANNELS = 3  # what is decoded: RGB
OFF = 1.0  # a threshold that turns its label off, whatever the probability


@dataclass(frozen=True)
class Predictions:
    """Answers for B frames and the K labels of the spec, in its order.

    Attributes:
        labels: K names.
        scores_BK: raw logits, float32.
        probabilities_BK: calibrated, float32 in 0..1.
        positive_BK: bool, probability >= the operating point's threshold, which is below 1.
        cam_BKhw: class activation maps in logit units, float32.
        embedding_BD: pooled features, float32.
        operating_point: name of the thresholds used.
    """

    labels: tuple[str, ...]
    scores_BK: Float32
    probabilities_BK: Float32
    positive_BK: npt.NDArray[np.bool_]
    cam_BKhw: Float32
    embedding_BD: Float32
    operating_point: str


class Predictor:
    """A module and its spec on one device.

    Args:
        module: what `models.artifacts.build_module` gives for `spec`.
        spec: labels, input contract, calibration and thresholds; its `dtype` is the one of the forward pass.
        device: torch device.
        batch_size: frames per forward pass; halved (for that call) whenever CUDA runs out of memory.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        spec: ModelSpec,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 32,
    ) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self._batch_size = batch_size
        self._module = place(module.eval(), self.device)
        calibration = [spec.calibration[name] for name in spec.label_names]
        self._slope_K = np.array([item.slope for item in calibration])
        self._intercept_K = np.array([item.intercept for item in calibration])

    def predict(
        self,
        frames_BHWC: npt.NDArray[np.uint8],
        *,
        operating_point: str | None = None,
        rows_B: npt.NDArray[np.int64] | None = None,
    ) -> Predictions:
        """Read frames of the spec's size.

        Args:
            frames_BHWC: uint8 RGB [B, size, size, 3] from `models.imaging.preprocess.fit_square`; B >= 1.
            operating_point: name from the spec; None takes its default.
            rows_B: numbers of the frames to read, where the array is large or on disk; None reads all.

        Raises:
            ValueError: shape or dtype is not the input contract's.
            KeyError: no such operating point.
        """
        rows_B = np.arange(len(frames_BHWC)) if rows_B is None else rows_B
        self._check(frames_BHWC, len(rows_B))
        point = operating_point or self.spec.default_operating_point
        thresholds = self.spec.operating_points[point]
        logits_BK, embedding_BD, cam_BKhw = self._forward(frames_BHWC, rows_B)
        probabilities_BK = self._calibrate(logits_BK)
        limits_K = np.array([thresholds[name] for name in self.spec.label_names])
        return Predictions(
            labels=self.spec.label_names,
            scores_BK=logits_BK,
            probabilities_BK=probabilities_BK,
            positive_BK=(probabilities_BK >= limits_K.astype(np.float32)) & (limits_K < OFF),
            cam_BKhw=cam_BKhw,
            embedding_BD=embedding_BD,
            operating_point=point,
        )

    def _check(self, frames_BHWC: npt.NDArray[np.uint8], count: int) -> None:
        size, channels = self.spec.input.size_px, self.spec.input.channels
        fits = frames_BHWC.ndim == 4 and frames_BHWC.shape[1:] == (size, size, channels)
        if frames_BHWC.dtype != np.uint8 or not fits or count == 0:
            raise ValueError(f"expected uint8 frames of shape [B, {size}, {size}, {channels}], B >= 1")

    def _calibrate(self, logits_BK: Float32) -> Float32:
        calibrated = self._slope_K * logits_BK.astype(np.float64) + self._intercept_K
        if self.spec.task == "image-multiclass":
            return np.asarray(softmax(calibrated, axis=1), dtype=np.float32)
        probabilities_BK: Float32 = (0.5 * (1 + np.tanh(calibrated / 2))).astype(np.float32)
        return probabilities_BK

    def _forward(
        self, frames_BHWC: npt.NDArray[np.uint8], rows_B: npt.NDArray[np.int64]
    ) -> tuple[Float32, Float32, Float32]:
        outputs, start, batch_size = [], 0, self._batch_size
        while start < len(rows_B):
            try:
                outputs.append(self._forward_batch(frames_BHWC[rows_B[start : start + batch_size]]))
            except torch.cuda.OutOfMemoryError:
                if batch_size == 1:
                    raise
                torch.cuda.empty_cache()
                batch_size //= 2
                continue
            start += batch_size
        logits, embedding, cam = (torch.cat(parts).numpy() for parts in zip(*outputs, strict=True))
        return logits, embedding, cam

    @torch.inference_mode()
    def _forward_batch(self, frames_BHWC: npt.NDArray[np.uint8]) -> DetectorOutput:
        # BHWC memory seen as BCHW is channels-last already: no copy before the device.
        frames_BCHW = torch.from_numpy(np.ascontiguousarray(frames_BHWC)).to(self.device).permute(0, 3, 1, 2)
        with autocast(self.device, self.spec.dtype):
            output: DetectorOutput = self._module(frames_BCHW)
        return DetectorOutput(*(tensor.cpu() for tensor in output))


def load_predictor(
    spec: ModelSpec,
    weights: Path,
    sha256: str,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    dtype: Literal["float32", "bfloat16"] | None = None,
) -> Predictor:
    """Predictor from a registered version's files.

    Args:
        spec: the version's spec.
        weights: safetensors file.
        sha256: its registered hash in hex.
        device: torch device.
        batch_size: frames per forward pass.
        dtype: "float32" or "bfloat16" instead of the spec's, which then no longer promises equal bytes.

    Raises:
        ArtifactRefused: `input_contract`, or see `models.artifacts.load_weights` and `build_module`.
    """
    if spec.input.channels != CHANNELS or spec.input.resize_kernel != KERNEL:
        raise ArtifactRefused(
            "input_contract",
            f"It needs other input than this worker prepares: RGB frames, resized by {KERNEL}.",
        )
    module = build_module(spec, load_weights(weights, sha256))
    used = spec if dtype is None else replace(spec, dtype=dtype)
    return Predictor(module, used, device=device, batch_size=batch_size)
