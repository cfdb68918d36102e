"""OpenVINO, where the extra is installed: the exported graph on its CPU runtime."""

import sys
from typing import Any

import numpy as np
import torch
from torch import nn

from models.imaging.engines.folded import export, quiet
from models.imaging.engines.kinds import Answers, Engine, EngineRefused, Frames, Kind, PassShape


class OpenVino:
    """A compiled model and one request of it."""

    def __init__(self, compiled: Any, kind: Kind) -> None:
        self.kind, self._request = kind, compiled.create_infer_request()
        self.version = str(_import_openvino().__version__)

    def __call__(self, frames_BHWC: Frames) -> Answers:
        found = self._request.infer([np.ascontiguousarray(frames_BHWC)])
        # The request writes into the same memory at the next call.
        return Answers(*(np.array(found[place], np.float32) for place in range(3)))


def build(module: nn.Module, kind: Kind, shape: PassShape, device: torch.device) -> Engine:
    """Export, convert in memory, compile with torch's number of threads."""
    if device.type != "cpu":
        raise EngineRefused("not_on_this_device")
    return OpenVino(compile_model(convert(module, shape), kind), kind)


def convert(module: nn.Module, shape: PassShape) -> Any:
    """An `openvino.Model` of fixed shape, in float32."""
    openvino = _import_openvino()
    with quiet():
        model = openvino.convert_model(export(module, shape))
    model.reshape(list(shape.tuple))
    return model


def compile_model(model: Any, kind: Kind) -> Any:
    """For the CPU; an int8 model computes what is not quantised in float32."""
    openvino = _import_openvino()
    precision = openvino.Type.bf16 if kind.dtype == "bfloat16" else openvino.Type.f32
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    return openvino.Core().compile_model(model, "CPU", options)


def forbid_statistics() -> None:
    """Have no usage statistics sent, which is these packages' default: what would send them is not to be had.

    They bring stubs for its absence. To be called before `openvino` or `nncf` is imported.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # None forbids an import


def _import_openvino() -> Any:
    forbid_statistics()
    try:
        with quiet():
            import openvino  # noqa: PLC0415 # an extra
    except ImportError:
        raise EngineRefused("not_installed") from None
    return openvino
