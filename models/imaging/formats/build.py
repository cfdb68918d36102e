"""Every format that datasets of frames come in, by name: one line each, and nothing found by scanning."""

from collections.abc import Mapping

from models.imaging.formats import (
    capsule_vision,
    csv_columns,
    folders,
    galar,
    hyper_kvasir,
    kvasir_capsule,
    kvasir_seg,
    labels_csv,
    see_ai,
    wcebleedgen,
)
from models.imaging.formats.source import Format

FORMATS: Mapping[str, Format] = {
    "labels-csv": labels_csv.read,
    "synthetic": labels_csv.read,
    "csv": csv_columns.read,
    "folders": folders.read,
    "wcebleedgen": wcebleedgen.read,
    "kvasir-capsule": kvasir_capsule.read,
    "capsule-vision": capsule_vision.read,
    "see-ai": see_ai.read,
    "galar": galar.read,
    "kvasir-seg": kvasir_seg.read,
    "hyper-kvasir": hyper_kvasir.read,
}
