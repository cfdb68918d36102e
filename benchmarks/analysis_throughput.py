"""Frames a second through the whole path, beside the bare batched forward of the same weights.

    python -m benchmarks.analysis_throughput --out benchmarks/results/analysis_throughput.json

A zip of frames as one analysis, and single-frame analyses from many clients at once, each in turn with the
bare forward (ABBA within one run); the result is the median of the ratios. Measured at the client from the
request to the end it hears of: upload, dispatch, decoding, forward pass and rows are all in it.
"""

import os

# As in the runner, and before torch reads it: the two must be equal to be compared.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import environment, finished
from models.artifacts import ModelSpec
from models.imaging.decode import decode_frame
from models.imaging.predictor import Predictor, load_predictor
from models.imaging.preprocess import fit_square
from models.synthetic.frames import draw_frame
from service.client.client import Enteron
from service.launcher import running
from service.settings import Settings
from tests.readers import import_reader

SIZE_PX = 224
PASS_FRAMES = 64
DRAWN = 50
CLIENTS = 16


@dataclass(frozen=True)
class Bench:
    client: Enteron
    predictor: Predictor
    archive: Path
    singles: list[Path]
    squares: np.ndarray
    frames: int


def pictures() -> list[bytes]:
    """A few drawn frames as JPEG; the path does not care that they come again."""
    made = []
    for number in range(DRAWN):
        out = io.BytesIO()
        Image.fromarray(draw_frame(number, domain="test", labels=None, patient=number).rgb).save(out, "JPEG")
        made.append(out.getvalue())
    return made


def prepare(client: Enteron, folder: Path, frames: int, singles: int) -> Bench:
    spec, weights = import_reader(client, folder, backbone="resnet50", params={}, size_px=SIZE_PX)
    drawn = pictures()
    archive = folder / "frames.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(frames):
            file.writestr(f"{number:05}.jpg", drawn[number % DRAWN])
    paths = []
    for number in range(singles):
        paths.append(folder / f"{number:05}.jpg")
        paths[-1].write_bytes(drawn[number % DRAWN])
    squares = np.stack([fit_square(decode_frame(data), SIZE_PX) for data in drawn])
    return Bench(client, reader(spec, weights), archive, paths, squares, frames)


def reader(spec: ModelSpec, weights: Path) -> Predictor:
    return load_predictor(spec, weights, hashlib.sha256(weights.read_bytes()).hexdigest())


def bare(bench: Bench, frames: int) -> float:
    """Frames/s of the forward pass alone, in the same batches, on decoded squares."""
    started = time.perf_counter()
    for start in range(0, frames, PASS_FRAMES):
        count = min(PASS_FRAMES, frames - start)
        bench.predictor.predict(bench.squares[np.arange(start, start + count) % DRAWN])
    return frames / (time.perf_counter() - started)


def one_zip(bench: Bench) -> float:
    started = time.perf_counter()
    result = finished(bench.client, bench.client.analyze([bench.archive]))
    seconds = time.perf_counter() - started
    counts = bench.client.analysis(result["analysis_id"])["counts"]
    assert counts["frames"] == bench.frames
    assert counts["unreadable"] == 0
    return bench.frames / seconds


def many_singles(bench: Bench) -> float:
    def read(path: Path) -> None:
        finished(bench.client, bench.client.analyze([path]))

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(read, bench.singles))
    return len(bench.singles) / (time.perf_counter() - started)


def pairs(path: Callable[[], float], limit: Callable[[], float], count: int) -> dict[str, Any]:
    """Path and bare forward in turns, the order reversed each time."""
    found = []
    for number in range(count):
        if number % 2:
            rate = path()
            found.append((rate, limit()))
        else:
            rate = limit()
            found.append((path(), rate))
    ratios = sorted(mine / limit for mine, limit in found)
    return {
        "frames_per_s": median(mine for mine, _ in found),
        "bare_frames_per_s": median(limit for _, limit in found),
        "ratio_median": median(ratios),
        "ratios": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--singles", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder, running(Settings(home=Path(folder, "home")), print) as machine:
        bench = prepare(machine.client, Path(folder), chosen.frames, chosen.singles)
        before = environment() | {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
        bare(bench, 4 * PASS_FRAMES)  # warm-up, discarded
        finished(machine.client, machine.client.analyze(bench.singles[:16]))
        result = {
            "zip": pairs(lambda: one_zip(bench), lambda: bare(bench, chosen.frames), chosen.pairs),
            "singles": pairs(lambda: many_singles(bench), lambda: bare(bench, chosen.singles), chosen.pairs),
            "frames": chosen.frames,
            "singles_count": chosen.singles,
            "clients": CLIENTS,
            "network": f"ResNet-50 at {SIZE_PX} px, {bench.predictor.spec.dtype}",
            "environment": before,
        }
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
