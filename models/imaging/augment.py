"""Augmentation of whole batches on the device: one affine warp, one colour matrix, blur and noise.

A capsule has no upright, so every turn and mirror image is as likely as the frame itself; colours differ more
between capsules than between lesions, so they are jittered hard. Random numbers come from torch's global
generator.
Shape suffixes: B batch, C channels (RGB), H W frame, K maps.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from models.schema import bounded

# RGB to luma and two chroma axes (YIQ, NTSC 1953): a turn of the chroma plane is a change of hue.
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
_BLUR_PX = 5
_SURROUND = 8 / 255  # brightest channel of what JPEG leaves of black


@dataclass(frozen=True)
class Augmentation:
    """How far frames are changed; zeros and False leave them as they are."""

    flip: bool = True
    quarter_turns: bool = True
    rotation_degrees: float = bounded(20.0, minimum=0, maximum=180)
    scale: float = bounded(0.15, minimum=0, maximum=0.5, doc="zoom in or out by up to this share")
    shift: float = bounded(0.08, minimum=0, maximum=0.5, doc="of the frame, filled by reflection")
    brightness: float = bounded(0.2, minimum=0, maximum=1)
    contrast: float = bounded(0.2, minimum=0, maximum=1)
    saturation: float = bounded(0.3, minimum=0, maximum=1)
    hue_degrees: float = bounded(15.0, minimum=0, maximum=180)
    blur: float = bounded(0.2, minimum=0, maximum=1, doc="share of frames that are blurred")
    noise: float = bounded(0.02, minimum=0, maximum=0.5, doc="largest standard deviation, of full range")


NONE = Augmentation(False, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@torch.no_grad()
def augment(
    frames_BCHW: torch.Tensor, how: Augmentation, *, maps_BKHW: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Change each frame of a batch in its own way, and its maps along with it.

    Args:
        frames_BCHW: RGB, square, uint8 in 0..255 or floating point in 0..1.
        how: the ranges.
        maps_BKHW: e.g. lesion masks in 0..1 on a grid of any size; they follow the warp, not the colours.

    Returns:
        Frames, float32 in 0..1, and the warped maps (None where none were given).
    """
    frames = frames_BCHW.float() / 255 if frames_BCHW.dtype == torch.uint8 else frames_BCHW.float()
    # The training loop calls this under autocast, where the colours would be mixed in bfloat16: 8 bits.
    with torch.autocast(frames.device.type, enabled=False):
        warp_B23 = random_warp(len(frames), how, frames.device)
        frames = jitter_colour(_warp(frames, warp_B23, "reflection"), how)
        frames = add_noise(blur(frames, how.blur), how.noise).clamp(0, 1)
        return frames, None if maps_BKHW is None else _warp(maps_BKHW.float(), warp_B23, "zeros")


def random_warp(count: int, how: Augmentation, device: torch.device) -> torch.Tensor:
    """Affine matrices [B, 2, 3] from places in the result to places in the frame, both in -1..1."""
    turns = torch.randint(4, (count,)) if how.quarter_turns else torch.zeros(count)
    angle = turns * (math.pi / 2) + _spread(count, math.radians(how.rotation_degrees))
    scale = torch.exp(_spread(count, math.log1p(how.scale)))
    mirror = torch.randint(2, (count,)) * 2 - 1 if how.flip else torch.ones(count)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = _spread(2 * count, 2 * how.shift).view(2, count)
    rows = [torch.stack([cosine * mirror, -sine, shift[0]]), torch.stack([sine * mirror, cosine, shift[1]])]
    return torch.stack(rows).permute(2, 0, 1).to(device)


def jitter_colour(frames_BCHW: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Brightness, contrast about the mean, saturation and hue: one 3x3 matrix and offset per frame."""
    count = len(frames_BCHW)
    gain = (1 + _spread(count, how.brightness)) * (1 + (contrast := _spread(count, how.contrast)))
    saturation, hue = 1 + _spread(count, how.saturation), _spread(count, math.radians(how.hue_degrees))
    turned = torch.zeros(count, 3, 3)
    turned[:, 0, 0] = 1
    turned[:, 1, 1] = turned[:, 2, 2] = saturation * torch.cos(hue)
    turned[:, 1, 2] = -saturation * torch.sin(hue)
    turned[:, 2, 1] = saturation * torch.sin(hue)
    yiq = torch.tensor(_YIQ)
    matrix_B33 = (gain.view(-1, 1, 1) * (torch.linalg.inv(yiq) @ turned @ yiq)).to(frames_BCHW.device)
    mean_B1 = frames_BCHW.mean(dim=(1, 2, 3), keepdim=True).flatten(1)
    offset_B1 = -contrast.view(-1, 1).to(frames_BCHW.device) * mean_B1
    mixed = torch.baddbmm(offset_B1.unsqueeze(2), matrix_B33, frames_BCHW.flatten(2))
    # The black surround is no tissue: an offset would give it a colour of its own.
    return mixed.view_as(frames_BCHW) * (frames_BCHW.amax(dim=1, keepdim=True) > _SURROUND)


def blur(frames_BCHW: torch.Tensor, share: float) -> torch.Tensor:
    """Gaussian blur (5 px) of a random share of the frames."""
    chosen = torch.nonzero(torch.rand(len(frames_BCHW)) < share).flatten().to(frames_BCHW.device)
    if len(chosen) == 0:
        return frames_BCHW
    channels = frames_BCHW.shape[1]
    offsets = torch.arange(_BLUR_PX, device=frames_BCHW.device) - _BLUR_PX // 2
    weights = torch.exp(-(offsets.float() ** 2) / 2)
    kernel = torch.outer(weights, weights) / weights.sum() ** 2
    padded = functional.pad(frames_BCHW[chosen], [_BLUR_PX // 2] * 4, mode="reflect")
    blurred = functional.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)
    return frames_BCHW.index_copy(0, chosen, blurred)


def add_noise(frames_BCHW: torch.Tensor, largest: float) -> torch.Tensor:
    """Gaussian noise, its standard deviation drawn per frame from 0 to `largest`."""
    if largest == 0:
        return frames_BCHW
    deviation = torch.rand(len(frames_BCHW), 1, 1, 1).to(frames_BCHW.device) * largest
    return frames_BCHW + torch.randn_like(frames_BCHW) * deviation


def _warp(images_BCHW: torch.Tensor, warp_B23: torch.Tensor, padding: str) -> torch.Tensor:
    grid = functional.affine_grid(warp_B23, list(images_BCHW.shape), align_corners=False)
    return functional.grid_sample(images_BCHW, grid, padding_mode=padding, align_corners=False)


def _spread(count: int, largest: float) -> torch.Tensor:
    return (torch.rand(count) * 2 - 1) * largest
