"""What the runner can do with models: the only place where supervisors' requests meet torch.

An operation takes a request (header and buffers), may emit events while it works, and answers with a header
and buffers. It knows files and arrays; it has no database, no network and no credentials.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from models import devices, recipes
from models.artifacts import ModelSpec
from models.events import CheckpointWritten, Event, Metric, Progress
from models.imaging import cam
from models.imaging.datasets import FramesDataset
from models.imaging.decode import Undecodable, decode_frame
from models.imaging.predictor import Predictions, Predictor, load_predictor
from models.imaging.preprocess import SquareMap, fit_square
from models.imaging.transfer_options import WeightsFile
from models.synthetic.dataset import write_dataset_zip
from models.synthetic.frames import draw_frames
from models.training import Interrupted
from workers.operations import STOPPED, Answer, Header, Operation, Request

RESIDENT_MODELS = 3
SYNTHESIS_REPORT_EVERY = 16


def load(request: Request) -> Answer:
    """Have the model ready; refuses a spec or weights of which nothing can be built.

    Answers with the engine that will read; `built` only if it was made for this request.
    """
    before = _predictor.cache_info().misses
    choice = _load(request.header).choice
    built = {"build_s": choice.build_s, "pass_s": dict(choice.pass_s), "refused": dict(choice.refused)}
    fresh = _predictor.cache_info().misses > before
    return {**choice.engine.kind._asdict(), "built": built if fresh else None}, ()


def predict(request: Request) -> Answer:
    """Read decoded frames: one buffer uint8 [B, size, size, 3]; the frames' own sizes are in the header.

    Answers, in buffers: scores and probabilities float32 [B, K], maps float16 [B, K, h, w]; in the header:
    the peak and the box of every map, in pixels of the frame, and the engine that read them.
    """
    predictor = _load(request.header)
    size = predictor.spec.input.size_px
    frames_BHWC = np.frombuffer(request.buffers[0], np.uint8).reshape(-1, size, size, 3)
    found = predictor.predict(frames_BHWC)
    squares = [SquareMap(width, height, size) for width, height in request.header["sizes_px"]]
    places = [[_place(map_hw, square) for map_hw in maps] for maps, square in _zip(found, squares)]
    header = {
        "labels": found.labels,
        "places": places,
        "cam_side": found.cam_BKhw.shape[-1],
        "engine": _engine(predictor, request.header),
    }
    arrays = (found.scores_BK, found.probabilities_BK, found.cam_BKhw.astype(np.float16))
    return header, [array.tobytes() for array in arrays]


def predict_dataset(request: Request) -> Answer:
    """Read an ingested dataset from block `first_block` on; the rows are emitted block by block."""
    predictor = _load(request.header)
    size = request.header["block_frames"]
    with FramesDataset(Path(request.header["folder"])) as dataset:
        names = dataset.names()
        for start in range(request.header["first_block"] * size, len(dataset), size):
            if request.should_stop():
                return STOPPED
            ordinals = range(start, min(start + size, len(dataset)))
            rows = _rows(predictor, dataset, ordinals)
            named = [{"item": str(names[ordinal])} | row for ordinal, row in zip(ordinals, rows, strict=True)]
            request.emit({"type": "rows", "start": start, "total": len(dataset), "rows": named})
    return {"items": len(names), **predictor.choice.engine.kind._asdict()}, ()


def train(request: Request) -> Answer:
    """Run a recipe to its end, or to the checkpoint that a drain asks for."""
    header = request.header
    recipe = recipes.find(header["recipe"])
    resume_from = header["resume_from"]
    outcome = recipe.run(
        Path(header["folder"]),
        {"device": header["device"], **header["params"]},
        Path(header["work_dir"]),
        resume_from=Path(resume_from) if resume_from else None,
        **_initial_weights(header),
        report=lambda event: request.emit(_as_message(event)),
        should_stop=request.should_stop,
    )
    if isinstance(outcome, Interrupted):
        return STOPPED
    return {
        "spec": outcome.spec.to_json(),
        "weights": str(outcome.weights_path),
        "metrics": {**outcome.metrics, "training": outcome.report},
    }, ()


def _initial_weights(header: Header) -> Mapping[str, WeightsFile]:
    """Handed over only where the request names some: not every recipe has a network to start from."""
    given = header["initial_weights"]
    return {"initial_weights": WeightsFile(Path(given["path"]), given["sha256"])} if given else {}


def compare(request: Request) -> Answer:
    """Train the arms of a recipe over folds and seeds, or as many runs as a drain leaves time for."""
    header = request.header
    resume_from = header["resume_from"]
    outcome = recipes.comparing(header["recipe"])(
        Path(header["folder"]),
        {"device": header["device"], **header["params"]},
        header["comparison"],
        Path(header["work_dir"]),
        resume_from=Path(resume_from) if resume_from else None,
        **_initial_weights(header),
        report=lambda event: request.emit(_as_message(event)),
        should_stop=request.should_stop,
    )
    return STOPPED if isinstance(outcome, Interrupted) else ({"comparison": outcome}, ())


def evaluate(request: Request) -> Answer:
    """Measure a model version on a dataset of frames; `training_index` is for its leak check."""
    header = request.header
    model, training_index = header["model"], header["training_index"]
    spec = ModelSpec.from_json(model["spec"])
    metrics = recipes.measuring(spec.builder.name).evaluate(
        Path(model["weights"]),
        model["sha256"],
        spec,
        Path(header["folder"]),
        Path(header["work_dir"]),
        device=devices.pick_device(model["device"]),
        training_index=Path(training_index) if training_index else None,
        report=lambda event: request.emit(_as_message(event)),
        should_stop=request.should_stop,
    )
    return STOPPED if metrics is None else ({"metrics": metrics}, ())


def export(request: Request) -> Answer:
    """Make one file of a model version; the buffer is JSON: its metrics and what the registry knows of it."""
    # With it come plots and exporters, which take seconds and which no other operation needs.
    from models import exports  # noqa: PLC0415
    from models.imaging.report import Passport  # noqa: PLC0415

    header, known = request.header, json.loads(bytes(request.buffers[0]))
    source = exports.Source(
        ModelSpec.from_json(header["model"]["spec"]),
        Passport(**known["passport"]),
        known["metrics"],
        known["measured_on"],
        Path(header["model"]["weights"]),
    )
    exports.write(header["form"], source, Path(header["path"]))
    return {}, ()


def synthesize(request: Request) -> Answer:
    """Draw a labelled dataset of capsule-like frames into a zip."""
    header = request.header
    total = header["frames"]

    def report(done: int) -> None:
        if done % SYNTHESIS_REPORT_EVERY == 0 or done == total:
            request.emit(_as_message(Progress(done, total, "frames", "drawing")))

    frames = draw_frames(total, seed=header["seed"], domain=header["domain"], size=header["size_px"])
    wanted = takewhile(lambda _: not request.should_stop(), frames)
    write_dataset_zip(header["path"], wanted, report=report)
    return STOPPED if request.should_stop() else ({"frames": total}, ())


OPERATIONS: Mapping[str, Operation] = {
    operation.__name__: operation
    for operation in (load, predict, predict_dataset, train, compare, evaluate, export, synthesize)
}


@lru_cache(maxsize=RESIDENT_MODELS)
def _predictor(spec_json: str, weights: str, sha256: str, device: str, engine: str) -> Predictor:
    spec = ModelSpec.from_json(spec_json)
    return load_predictor(spec, Path(weights), sha256, device=device, engine=engine)


def _load(header: Header) -> Predictor:
    model = header["model"]
    device = devices.pick_device(model["device"])
    return _predictor(model["spec"], model["weights"], model["sha256"], str(device), model["engine"])


def _engine(predictor: Predictor, header: Header) -> Header:
    """Everything that the bits of an answer depend on, beside the version and the call."""
    device = devices.pick_device(header["model"]["device"])
    engine = predictor.choice.engine
    return {**devices.described(device), **engine.kind._asdict(), "build": engine.version}


def _zip(found: Predictions, squares: Sequence[SquareMap]) -> Any:
    return zip(found.cam_BKhw, squares, strict=True)


def _place(map_hw: cam.Float32, square: SquareMap) -> Header:
    if map_hw.size == 0:  # a classifier has no maps
        return {"peak_xy": None, "box_xywh": None}
    x, y = square.point_to_frame(*cam.peak(map_hw, square.size_px))
    box = cam.box(map_hw, square.size_px)
    return {
        "peak_xy": [int(x), int(y)],
        "box_xywh": box and [round(value) for value in square.box_to_frame(*box)],
    }


def _rows(predictor: Predictor, dataset: FramesDataset, ordinals: range) -> list[Header]:
    squares: dict[int, Any] = {}
    rows: dict[int, Header] = {}
    for ordinal in ordinals:
        try:
            squares[ordinal] = fit_square(decode_frame(dataset.frame(ordinal)), predictor.spec.input.size_px)
        except Undecodable as refused:
            rows[ordinal] = {"outputs": {"error": refused.code}}
    if squares:
        found = predictor.predict(np.stack(list(squares.values())))
        for ordinal, probabilities_K in zip(squares, found.probabilities_BK, strict=True):
            outputs = {
                label: float(value) for label, value in zip(found.labels, probabilities_K, strict=True)
            }
            rows[ordinal] = {"outputs": outputs}
    return [rows[ordinal] for ordinal in ordinals]


def _as_message(event: Event) -> Header:
    match event:
        case Progress(done, total, unit, code):
            return {"type": "progress", "done": done, "total": total, "unit": unit, "code": code}
        case Metric(name, step, value):
            return {"type": "metric", "name": name, "step": step, "value": value}
        case CheckpointWritten(path, step):
            return {"type": "checkpoint", "path": str(path), "step": step}
