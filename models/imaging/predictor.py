"""Predictor: frames in; probabilities, decisions, maps and embeddings out; stateless between calls.

Shape suffixes: B frames, H W frame, C channels, K labels, D embedding, h w map grid.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax

from models.artifacts import ArtifactRefused, ModelSpec, build_module, load_weights
from models.imaging.calibration import decide
from models.imaging.engines.choose import SPEC, choose
from models.imaging.engines.kinds import Answers, EngineDtype, EngineName, Kind, PassShape
from models.imaging.preprocess import KERNEL

Float32 = npt.NDArray[np.float32]
CHANNELS = 3  # what is decoded: RGB
# On a CPU more frames gain little, and a single one waits for the whole pass.
_PASS_FRAMES = {"cpu": 4, "cuda": 64}


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
        engine: what computed the forward pass, e.g. "torch"; see `models.imaging.engines.kinds`.
        dtype: in which precision.
    """

    labels: tuple[str, ...]
    scores_BK: Float32
    probabilities_BK: Float32
    positive_BK: npt.NDArray[np.bool_]
    cam_BKhw: Float32
    embedding_BD: Float32
    operating_point: str
    engine: EngineName
    dtype: EngineDtype


class Predictor:
    """A module and its spec on one device, read by one engine.

    Every forward pass has the same shape, the last one filled up with black frames: so a frame gets the same
    bits from the same version and engine, whatever it is read with.

    Args:
        module: what `models.artifacts.build_module` gives for `spec`.
        spec: labels, input contract, calibration and thresholds, and the engine and precision of "spec".
        device: torch device.
        batch_size: frames per forward pass; halved (for that call) whenever CUDA runs out of memory. None
            takes what suits the device.
        engine: "spec", "auto" or one of `KINDS`; see `models.imaging.engines.choose`.

    Attributes:
        choice: the engine that was taken, and what was tried.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        spec: ModelSpec,
        *,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
        engine: str = SPEC,
    ) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self._shape = PassShape(
            batch_size or _PASS_FRAMES[self.device.type], spec.input.size_px, spec.input.channels
        )
        self.choice = choose(engine, Kind(spec.engine, spec.dtype), module, self._shape, self.device)
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
            positive_BK=decide(probabilities_BK, limits_K),
            cam_BKhw=cam_BKhw,
            embedding_BD=embedding_BD,
            operating_point=point,
            engine=self.choice.engine.kind.engine,
            dtype=self.choice.engine.kind.dtype,
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

    def _forward(self, frames_BHWC: npt.NDArray[np.uint8], rows_B: npt.NDArray[np.int64]) -> Answers:
        parts, start, size = [], 0, self._shape.frames
        while start < len(rows_B):
            try:
                parts.append(self._pass(frames_BHWC[rows_B[start : start + size]], size))
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                torch.cuda.empty_cache()
                size //= 2
                continue
            start += size
        return Answers(*(np.concatenate(answers) for answers in zip(*parts, strict=True)))

    def _pass(self, frames_BHWC: npt.NDArray[np.uint8], size: int) -> Answers:
        count = len(frames_BHWC)
        if count < size:
            black = np.zeros((size - count, *frames_BHWC.shape[1:]), np.uint8)
            frames_BHWC = np.concatenate([frames_BHWC, black])
        return Answers(*(answer[:count] for answer in self.choice.engine(frames_BHWC)))


def load_predictor(
    spec: ModelSpec,
    weights: Path,
    sha256: str,
    *,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
    engine: str = SPEC,
) -> Predictor:
    """Predictor from a registered version's files.

    Args:
        spec: the version's spec.
        weights: safetensors file.
        sha256: its registered hash in hex.
        device: torch device.
        batch_size: frames per forward pass; None takes what suits the device.
        engine: as `Predictor` takes it.

    Raises:
        ArtifactRefused: `input_contract`, or see `models.artifacts.load_weights` and `build_module`.
    """
    if spec.input.channels != CHANNELS or spec.input.resize_kernel != KERNEL:
        raise ArtifactRefused(
            "input_contract",
            f"It needs other input than this worker prepares: RGB frames, resized by {KERNEL}.",
        )
    module = build_module(spec, load_weights(weights, sha256))
    return Predictor(module, spec, device=device, batch_size=batch_size, engine=engine)
