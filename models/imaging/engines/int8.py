"""int8 through OpenVINO: quantised after training with given frames, and refused where the answers move.

Not among the engines that a worker chooses from: the scales come from the frames of the calibration, which no
version carries, so that it would no longer fix its own answers.
Shape suffixes: N frames, H W frame, C channels, K labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from models.artifacts import ModelSpec
from models.imaging.calibration import calibrated
from models.imaging.engines import vino
from models.imaging.engines.folded import quiet
from models.imaging.engines.kinds import Engine, EngineRefused, Float32, Frames, Kind, PassShape
from models.metrics import auc

# More than these, and the engine is refused.
MEAN_AUC_LOST = 0.005
PROBABILITY_MOVED = 0.05  # 99th percentile of the change over frames and labels


@dataclass(frozen=True)
class Movement:
    """How far int8 is from float32 on the frames it was checked with.

    Attributes:
        probability: 99th percentile of the absolute change of calibrated probabilities.
        mean_auc: float32's mean AUC less int8's, over the labels whose AUC is defined; None where none is.
    """

    probability: float
    mean_auc: float | None


def build(
    module: nn.Module,
    spec: ModelSpec,
    *,
    calibration_NHWC: Frames,
    check_NHWC: Frames,
    check_labels_NK: npt.NDArray[np.int8] | None = None,
    pass_frames: int = 4,
) -> tuple[Engine, Movement]:
    """Quantise a detector and measure what that changed.

    Args:
        module: the detector, on the CPU.
        spec: its input contract, labels and calibration.
        calibration_NHWC: frames that fix the scales: some hundreds of the kind to be read, uint8 RGB of the
            spec's size.
        check_NHWC: other frames, on which both are compared.
        check_labels_NK: their labels, 1, 0 or -1 for unknown; without them only probabilities count.
        pass_frames: frames per forward pass.

    Raises:
        EngineRefused: `not_installed`, or `less_accurate` beyond `MEAN_AUC_LOST` or `PROBABILITY_MOVED`.
    """
    vino.forbid_statistics()
    try:
        with quiet():
            import nncf  # noqa: PLC0415 # an extra
    except ImportError:
        raise EngineRefused("not_installed") from None
    shape = PassShape(pass_frames, spec.input.size_px, spec.input.channels)
    model = vino.convert(module, shape)
    exact = vino.OpenVino(vino.compile_model(model, Kind("openvino", "float32")), Kind("openvino", "float32"))
    with quiet():
        passes = nncf.Dataset(list(_passes(calibration_NHWC, pass_frames)))
        quantised = nncf.quantize(model, passes, subset_size=max(1, len(calibration_NHWC) // pass_frames))
    kind = Kind("openvino", "int8")
    engine = vino.OpenVino(vino.compile_model(quantised, kind), kind)
    expected_NK, found_NK = (
        _probabilities(reader, check_NHWC, pass_frames, spec) for reader in (exact, engine)
    )
    moved = measure(found_NK, expected_NK, check_labels_NK)
    if not moved.probability <= PROBABILITY_MOVED or (
        moved.mean_auc is not None and moved.mean_auc > MEAN_AUC_LOST
    ):
        raise EngineRefused(
            "less_accurate", f"probabilities {moved.probability:.3f}, mean AUC {moved.mean_auc}"
        )
    return engine, moved


def measure(found_NK: Float32, expected_NK: Float32, labels_NK: npt.NDArray[np.int8] | None) -> Movement:
    """Compare probabilities of the same frames."""
    probability = float(np.quantile(np.abs(found_NK - expected_NK), 0.99))
    lost = []
    for column, labels in enumerate(() if labels_NK is None else labels_NK.T):
        before, after = auc(labels, expected_NK[:, column]), auc(labels, found_NK[:, column])
        if before is not None and after is not None:
            lost.append(before - after)
    return Movement(probability, float(np.mean(lost)) if lost else None)


def _passes(frames_NHWC: Frames, count: int) -> Iterator[Frames]:
    """Whole passes of `count` frames; the last one starts earlier rather than being shorter."""
    if len(frames_NHWC) < count:
        raise ValueError(f"needs at least {count} frames")
    starts = range(0, len(frames_NHWC), count)
    return (
        np.ascontiguousarray(frames_NHWC[min(start, len(frames_NHWC) - count) :][:count]) for start in starts
    )


def _probabilities(engine: Engine, frames_NHWC: Frames, count: int, spec: ModelSpec) -> Float32:
    scores = [engine(frames_BHWC).logits_BK for frames_BHWC in _passes(frames_NHWC, count)]
    scores_NK = np.concatenate(scores)[: len(frames_NHWC)]
    last = len(frames_NHWC) % count
    if last:  # frames of the last pass that came before are there twice
        scores_NK[-last:] = scores[-1][-last:]
    columns = [calibrated(scores_NK[:, k], spec.calibration[name]) for k, name in enumerate(spec.label_names)]
    return np.stack(columns, axis=1).astype(np.float32)
