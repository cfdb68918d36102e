"""Capsule-like frames drawn by code, with labels and masks known by construction."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.synthetic import ranges
from models.synthetic.canvas import Canvas, Mask, Site
from models.synthetic.content import add_content
from models.synthetic.distractors import add_distractors
from models.synthetic.lesions import add_bleeding, add_inflammatory, add_polyp
from models.synthetic.lighting import expose, light
from models.synthetic.mucosa import Appearance, add_folds, add_lumen, add_mucosa
from models.synthetic.ranges import Dice, Domain

LABELS: Final = ("polyp", "bleeding", "inflammatory", "content")

# One block of the mix; a data set is shuffled blocks, so every prefix is nearly balanced.
_MIX: Final[tuple[frozenset[str], ...]] = (
    *(frozenset[str]() for _ in range(5)),
    *(frozenset({label}) for label in LABELS for _ in range(3)),
    frozenset({"polyp", "content"}),
    frozenset({"polyp", "bleeding"}),
    frozenset({"inflammatory", "bleeding"}),
    frozenset({"inflammatory", "content"}),
)
# In drawing order: later kinds lie on top of earlier ones.
_LESIONS: Final = (
    ("polyp", add_polyp, ranges.POLYP_RADIUS),
    ("inflammatory", add_inflammatory, ranges.ULCER_RADIUS),
    ("bleeding", add_bleeding, ranges.BLEEDING_RADIUS),
)
_PATIENTS_PER_SEED: Final = 1_000_000
_DOMAINS: Final[tuple[Domain, ...]] = ("train", "test")
# Separate streams: what is added to a frame leaves its wall and its lighting as they were.
_PURPOSES: Final = ("order", "patient", "choice", "wall", "labels", "lamp")


@dataclass(frozen=True)
class SyntheticFrame:
    """One drawn frame with its ground truth.

    Attributes:
        rgb: uint8 [size, size, 3].
        masks: bool [size, size] for each label present, inside the field of view.
        labels: 0 or 1 for every one of `LABELS`.
        group: Synthetic patient; train and test patients never share one.
    """

    rgb: NDArray[np.uint8]
    masks: dict[str, Mask]
    labels: dict[str, int]
    group: str


def draw_frame(
    seed: int, *, domain: Domain, labels: frozenset[str] | None, patient: int, size: int = 336
) -> SyntheticFrame:
    """Draw one frame; the same arguments give the same bits.

    Args:
        seed: Seed of the frame, not negative.
        domain: Which column of `models.synthetic.ranges` to draw from.
        labels: What the frame shows (empty: normal); None lets the seed choose from the mix.
        patient: Number of the synthetic patient, whose frames share hue, texture and capsule.
        size: Side in pixels, at least 32.

    Returns:
        The frame with masks and labels.

    Raises:
        ValueError: For an unknown label or a size under 32.
    """
    if size < 32:
        raise ValueError("size must be at least 32 pixels")
    look = Appearance.of_patient(_stream(domain, "patient", patient))
    choice, wall, added, lamp = (
        _stream(domain, purpose, patient, seed) for purpose in ("choice", "wall", "labels", "lamp")
    )
    present = _MIX[int(choice.rng.integers(len(_MIX)))] if labels is None else labels
    if unknown := present - set(LABELS):
        raise ValueError(f"unknown labels: {sorted(unknown)}")
    canvas = Canvas.blank(size, look.field_radius)
    lumen = _build_wall(canvas, wall, look)
    masks = _add_labels(canvas, added, look, present, lumen)
    rgb = _through_jpeg(expose(light(canvas, lamp), canvas, lamp, look), look.jpeg_quality)
    return SyntheticFrame(
        rgb, masks, {label: int(label in present) for label in LABELS}, f"synthetic-{domain}-{patient:07d}"
    )


def draw_frames(
    n: int, *, seed: int, domain: Domain, size: int = 336, frames_per_patient: int = 8
) -> Iterator[SyntheticFrame]:
    """Draw a data set one frame at a time: normal frames, each label alone, and pairs.

    Args:
        n: Number of frames.
        seed: Seed of the data set; other seeds draw other patients.
        domain: Train or test ranges.
        size: Side in pixels.
        frames_per_patient: Consecutive frames that share a patient.

    Yields:
        Frames in a fixed order; a prefix of a longer data set is the shorter one.
    """
    order = _stream(domain, "order", seed).rng
    block: list[frozenset[str]] = []
    for index in range(n):
        if not block:
            block = [_MIX[position] for position in order.permutation(len(_MIX))]
        patient = seed * _PATIENTS_PER_SEED + index // frames_per_patient
        yield draw_frame(index, domain=domain, labels=block.pop(), patient=patient, size=size)


def _stream(domain: Domain, purpose: str, *numbers: int) -> Dice:
    """Open the random stream of one purpose."""
    # numpy pads a seed with zeros, so its length alone would not tell two streams apart.
    seed = [_DOMAINS.index(domain) + 1, _PURPOSES.index(purpose) + 1, *numbers]
    return Dice(np.random.default_rng(seed), domain)


def _build_wall(canvas: Canvas, dice: Dice, look: Appearance) -> Site:
    """Paint a normal frame with its distractors; return its lumen."""
    lumen = Site(*dice.point(1.1), dice.between(0.2, 0.42))
    add_mucosa(canvas, dice, look)
    crest = add_folds(canvas, dice, lumen)
    add_lumen(canvas, dice, lumen)
    add_distractors(canvas, dice, look, crest)
    return lumen


def _add_labels(
    canvas: Canvas, dice: Dice, look: Appearance, present: frozenset[str], lumen: Site
) -> dict[str, Mask]:
    """Paint lesions, then content, beside each other as far as there is room."""
    field = canvas.x**2 + canvas.y**2 < 0.97
    taken = [lumen]
    masks: dict[str, Mask] = {}
    for label, add, radius in _LESIONS:
        if label in present:
            taken.append(_free_site(dice, taken, radius=dice.roll(radius)))
            masks[label] = add(canvas, dice, look, taken[-1]) & field
    if "content" in present:
        site = _free_site(dice, taken, radius=dice.between(0.32, 0.46))
        masks["content"] = add_content(canvas, dice, site) & field
    return masks


def _free_site(dice: Dice, taken: list[Site], *, radius: float) -> Site:
    """Choose the freest of some random places: lesions in the dark or under another are not seen."""
    candidates = [Site(*dice.point(0.88 - radius), radius) for _ in range(12)]
    free = [site for site in candidates if all(site.gap(other) > 0 for other in taken)]
    return free[0] if free else max(candidates, key=lambda site: min(site.gap(other) for other in taken))


def _through_jpeg(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Compress and decode once, as the capsule does before anybody sees the frame."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer, formats=["JPEG"]), dtype=np.uint8)
