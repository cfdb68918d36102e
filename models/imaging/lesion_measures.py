"""All that is measured of a detector on some frames, its maps included."""

import numpy as np
import numpy.typing as npt

from models.artifacts import drawn_twin
from models.imaging.evaluation import measure
from models.imaging.evidence import mean_area, one_kind
from models.imaging.localisation import measure_maps
from models.imaging.mixture import Frames
from models.imaging.predictor import Predictor
from models.schema import JsonObject


def measure_detector(
    dataset: Frames,
    predictor: Predictor,
    pixels_NHWC: npt.NDArray[np.uint8],
    labels_NK: npt.NDArray[np.int8],
    rows_M: npt.NDArray[np.int64],
) -> JsonObject:
    """Metrics on some of the dataset's N frames.

    Args:
        dataset: groups, masks and boxes.
        predictor: of the K labels.
        pixels_NHWC: uint8, all frames at the size that is read.
        labels_NK: 1, 0 or -1 for unknown.
        rows_M: numbers of the frames that are judged.

    Returns:
        As `models.imaging.evaluation.measure`; each label also has `evidence` (which kind of frames judged
        it), `pointing` and `map` (see `models.imaging.localisation`), the latter beside drawn weights.
    """
    spec, groups_M = predictor.spec, dataset.groups()[rows_M]
    judged_MK, kinds = one_kind(labels_NK[rows_M], dataset.drawn_by_code()[rows_M])
    predictions = predictor.predict(pixels_NHWC, rows_B=rows_M)
    metrics = measure(
        predictions, judged_MK, groups_M, operating_points=spec.operating_points, seed=spec.seed
    )
    where = {"size_px": spec.input.size_px, "seed": spec.seed}
    maps = measure_maps(predictions, judged_MK, groups_M, dataset, rows_M, **where)
    if any(maps.values()):
        twin = Predictor(drawn_twin(spec), spec, device=predictor.device)
        drawn = twin.predict(pixels_NHWC, rows_B=rows_M)
        chance = measure_maps(drawn, judged_MK, groups_M, dataset, rows_M, **where)
    for (name, entry), kind in zip(metrics["labels"].items(), kinds, strict=True):
        found = maps[name]
        entry["evidence"] = kind
        entry["pointing"] = None if found is None else found["pointing"]
        entry["map"] = None if found is None else found | {"random_weights": chance[name]}
        if found is None:
            entry["not_measured"].append("pointing")
    return metrics | {"mean_auc": mean_area(metrics["labels"])}
