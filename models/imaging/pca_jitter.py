"""Colour jitter along the principal axes of the training pixels' colours.

Krizhevsky et al. 2012, section 4.1: to each pixel of a frame is added p1 a1 l1 + p2 a2 l2 + p3 a3 l3, where p
and l are the eigenvectors and eigenvalues of the covariance of all training pixels, and each a is drawn anew
for each frame from a normal distribution of spread 0.1.
Shape suffixes: N frames, B batch, C channels (RGB), H W frame.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

# Darker than this in every channel is the black surround of the round field: no tissue, no colour.
_SURROUND = 8
_CHUNK = 64


@dataclass(frozen=True)
class ColourAxes:
    """Eigenvalues [C] and eigenvectors [C, C] (in columns) of colours on the 0..1 scale, float32."""

    values_C: torch.Tensor
    vectors_CC: torch.Tensor


def colour_axes(frames_NHWC: npt.NDArray[np.uint8], rows_M: npt.NDArray[np.int64]) -> ColourAxes:
    """Axes of all tissue pixels of the chosen frames.

    Args:
        frames_NHWC: uint8 RGB.
        rows_M: numbers of the training frames; nothing else may be learnt from.
    """
    count, total_C, products_CC = 0, np.zeros(3), np.zeros((3, 3))
    for start in range(0, len(rows_M), _CHUNK):
        pixels_PC = frames_NHWC[rows_M[start : start + _CHUNK]].reshape(-1, 3)
        tissue_PC = pixels_PC[(pixels_PC > _SURROUND).any(axis=1)].astype(np.float64) / 255
        count += len(tissue_PC)
        total_C += tissue_PC.sum(axis=0)
        products_CC += tissue_PC.T @ tissue_PC
    mean_C = total_C / max(count, 1)
    values_C, vectors_CC = np.linalg.eigh(products_CC / max(count, 1) - np.outer(mean_C, mean_C))
    return ColourAxes(
        torch.from_numpy(values_C.clip(min=0)).float(), torch.from_numpy(vectors_CC.copy()).float()
    )


@torch.no_grad()
def pca_jitter(frames_BCHW: torch.Tensor, axes: ColourAxes, spread: float) -> torch.Tensor:
    """Shift the colours of each frame, the black surround aside; numbers from torch's global generator.

    Args:
        frames_BCHW: RGB, floating point in 0..1.
        axes: of the training pixels.
        spread: standard deviation of the draws; the paper's is 0.1.

    Returns:
        Frames in 0..1.
    """
    drawn_BC = torch.randn(len(frames_BCHW), 3) * spread
    shift_BC = ((drawn_BC * axes.values_C) @ axes.vectors_CC.T).to(frames_BCHW.device)
    tissue_B1HW = frames_BCHW.amax(dim=1, keepdim=True) > _SURROUND / 255
    return (frames_BCHW + shift_BC[:, :, None, None] * tissue_B1HW).clamp(0, 1)
