"""Crops of square frames: a random one to learn from, ten fixed ones to answer from.

Krizhevsky et al. 2012 (section 4.1) for both; the random size after Simonyan and Zisserman 2015 (section 3.1)
and He et al. 2016 (section 3.4).
Shape suffixes: V views, B batch, C channels, H W frame, h w crop.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from models.schema import SchemaError, bounded

TestTime = Literal["whole", "centre", "ten-crop"]


@dataclass(frozen=True)
class RandomCrop:
    """A window of `side_px` from a frame that was resized to a random side, mirrored half of the time."""

    side_px: int = bounded(224, minimum=16, maximum=1024)
    smallest_frame_px: int = bounded(256, minimum=16, maximum=2048)
    largest_frame_px: int = bounded(480, minimum=16, maximum=2048)
    mirror: bool = True

    def __post_init__(self) -> None:
        if not self.side_px <= self.smallest_frame_px <= self.largest_frame_px:
            raise SchemaError("/side_px", "must not exceed the smallest frame, nor that the largest")


@torch.no_grad()
def random_crop(frames_BCHW: torch.Tensor, how: RandomCrop) -> torch.Tensor:
    """One window of each frame; numbers come from torch's global generator.

    Args:
        frames_BCHW: square, uint8 in 0..255 or floating point in 0..1; best of `largest_frame_px`.
        how: sizes.

    Returns:
        float32 in 0..1, [B, C, side_px, side_px].
    """
    return torch.stack([_window(frame_CHW, how) for frame_CHW in _unit(frames_BCHW)])


def _window(frame_CHW: torch.Tensor, how: RandomCrop) -> torch.Tensor:
    frame_px = _draw(how.smallest_frame_px, how.largest_frame_px)
    if frame_px != frame_CHW.shape[-1]:
        size = (frame_px, frame_px)
        frame_CHW = functional.interpolate(frame_CHW[None], size, mode="bilinear", antialias=True)[0]
    top, left = _draw(0, frame_px - how.side_px), _draw(0, frame_px - how.side_px)
    window_Chw = frame_CHW[:, top : top + how.side_px, left : left + how.side_px]
    return window_Chw.flip(-1) if how.mirror and _draw(0, 1) else window_Chw


def centre_crop(frames_BCHW: torch.Tensor, side_px: int) -> torch.Tensor:
    """The window of `side_px` in the middle."""
    first = (frames_BCHW.shape[-1] - side_px) // 2
    return frames_BCHW[..., first : first + side_px, first : first + side_px]


def ten_crop(frames_BCHW: torch.Tensor, side_px: int) -> torch.Tensor:
    """The four corners and the centre of square frames, then the mirror images of these five.

    Returns:
        [10, B, C, side_px, side_px], of the frames' dtype.
    """
    low, high = slice(0, side_px), slice(frames_BCHW.shape[-1] - side_px, None)
    corners = [frames_BCHW[..., rows, columns] for rows in (low, high) for columns in (low, high)]
    five_VBChw = torch.stack([*corners, centre_crop(frames_BCHW, side_px)])
    return torch.cat([five_VBChw, five_VBChw.flip(-1)])


def views(frames_BCHW: torch.Tensor, how: TestTime, side_px: int) -> torch.Tensor:
    """What a network looks at to answer for a frame: [V, B, C, h, w], V being 1 or 10."""
    if how == "whole":
        return frames_BCHW[None]
    return centre_crop(frames_BCHW, side_px)[None] if how == "centre" else ten_crop(frames_BCHW, side_px)


def _unit(frames_BCHW: torch.Tensor) -> torch.Tensor:
    return frames_BCHW.float() / 255 if frames_BCHW.dtype == torch.uint8 else frames_BCHW.float()


def _draw(least: int, most: int) -> int:
    return int(torch.randint(least, most + 1, ()))
