"""Plain torch: the module itself, call by call, on any device."""

import numpy as np
import torch
from torch import nn

from models.devices import autocast, place
from models.imaging.engines.kinds import Answers, Engine, Frames, Kind, PassShape


class Eager:
    """A module in evaluation mode; takes passes of any shape, and runs out of CUDA memory as torch does."""

    def __init__(self, module: nn.Module, kind: Kind, device: torch.device) -> None:
        self.kind, self._device, self.version = kind, device, torch.__version__
        self._module = place(module.eval(), device)

    @torch.inference_mode()
    def __call__(self, frames_BHWC: Frames) -> Answers:
        # BHWC memory seen as BCHW is channels-last already: no copy before the device.
        frames_BCHW = torch.from_numpy(np.ascontiguousarray(frames_BHWC)).to(self._device).permute(0, 3, 1, 2)
        with autocast(self._device, "bfloat16" if self.kind.dtype == "bfloat16" else "float32"):
            output = self._module(frames_BCHW)
        return Answers(*(tensor.cpu().numpy() for tensor in output))


def build(module: nn.Module, kind: Kind, _shape: PassShape, device: torch.device) -> Engine:
    """Takes the module over: it is moved to the device and set to evaluation mode."""
    return Eager(module, kind, device)
