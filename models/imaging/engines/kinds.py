"""Inference engines by name: what computes a forward pass, in which precision, and what all of them promise.

Shape suffixes: B frames of a pass, H W frame, C channels, K labels, D embedding, h w map grid.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Frames = npt.NDArray[np.uint8]
EngineName = Literal["torch", "torch-folded", "torch-compiled", "openvino"]
EngineDtype = Literal["float32", "bfloat16", "int8"]
SHORT: dict[EngineDtype, str] = {"float32": "fp32", "bfloat16": "bf16", "int8": "int8"}


class Kind(NamedTuple):
    """An engine and the precision it computes in."""

    engine: EngineName
    dtype: EngineDtype

    def __str__(self) -> str:
        return f"{self.engine}-{SHORT[self.dtype]}"


_ENGINES: tuple[EngineName, ...] = ("torch", "torch-folded", "torch-compiled", "openvino")
_DTYPES: tuple[EngineDtype, ...] = ("float32", "bfloat16")
# int8 is not among them: its answers depend on the frames it was calibrated with, which no version carries.
KINDS = {str(kind): kind for kind in (Kind(engine, dtype) for engine in _ENGINES for dtype in _DTYPES)}


class Answers(NamedTuple):
    """What one pass gives: logits, pooled features and activation maps, as `DetectorOutput` has them."""

    logits_BK: Float32
    embedding_BD: Float32
    cam_BKhw: Float32


class Engine(Protocol):
    """Reads passes of one fixed shape: equal frames give equal bits, wherever in the pass they stand.

    Attributes:
        kind: what computes, in which precision.
        version: of the library that does; another may give other bits.
    """

    @property
    def kind(self) -> Kind: ...

    @property
    def version(self) -> str: ...

    def __call__(self, frames_BHWC: Frames) -> Answers:
        """Read uint8 RGB frames of exactly the shape that the engine was built for."""
        ...


@dataclass(frozen=True)
class PassShape:
    """Frames per forward pass, and the side of each in pixels."""

    frames: int
    size_px: int
    channels: int = 3

    @property
    def tuple(self) -> tuple[int, int, int, int]:
        return self.frames, self.size_px, self.size_px, self.channels


class EngineRefused(Exception):
    """An engine cannot be had here.

    `code` is `not_installed`, `no_compiler`, `not_on_this_device`, `too_slow_to_build`, `build_failed`,
    `disagrees` or `less_accurate`.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
