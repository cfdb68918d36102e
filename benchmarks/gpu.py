"""Frames/s of ResNet-50 at 224 px in bfloat16 on a CUDA device: resident, from memory, from JPEG files.

    python -m benchmarks.gpu --out benchmarks/results/gpu.json

`resident` repeats the forward pass on frames that lie on the device: the limit. `memory` reads decoded
frames through the predictor, copies and answers included. `files` decodes JPEGs from disk in processes and
reads them as they come; `decode` is the decoding alone. The last over the smaller of `decode` and `memory`
says how well the two overlap. Ends with status 2 where there is no CUDA device; `--device cpu` tries the
script out.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.turns import machine
from models.devices import autocast, place
from models.imaging.decode import decode_frame
from models.imaging.detector import build_detector
from models.imaging.predictor import Predictor
from models.imaging.preprocess import fit_square
from models.synthetic.frames import draw_frame
from tests.readers import reader_spec

DRAWN = 32


def write_files(folder: Path, count: int) -> list[Path]:
    """Drawn frames of 336 px; the decoder does not care that they come again."""
    paths = []
    for number in range(min(count, DRAWN)):
        paths.append(folder / f"{number:05}.jpg")
        Image.fromarray(draw_frame(number, domain="test", labels=None, patient=number).rgb).save(paths[-1])
    return [paths[number % len(paths)] for number in range(count)]


def decode(paths: list[Path], size_px: int) -> np.ndarray:
    return np.stack([fit_square(decode_frame(path.read_bytes()), size_px) for path in paths])


def decoded(pool: ProcessPoolExecutor, paths: list[Path], chosen: argparse.Namespace) -> Iterator[np.ndarray]:
    chunks = [paths[start : start + chosen.batch] for start in range(0, len(paths), chosen.batch)]
    return pool.map(decode, chunks, [chosen.size_px] * len(chunks))


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def rate(frames: int, call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median frames/s; the first call is warm-up."""
    seconds = []
    for _ in range(repeats + 1):
        synchronise(device)
        started = time.perf_counter()
        call()
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    return frames / median(seconds[1:])


def measure(
    chosen: argparse.Namespace, device: torch.device, folder: Path, pool: ProcessPoolExecutor
) -> dict[str, Any]:
    torch.manual_seed(0)
    spec = reader_spec(chosen.backbone, {}, size_px=chosen.size_px, dtype="bfloat16")
    predictor = Predictor(
        build_detector(chosen.backbone, {}, label_count=4), spec, device=device, batch_size=chosen.batch
    )
    module = place(build_detector(chosen.backbone, {}, label_count=4).eval(), device)
    paths = write_files(folder, chosen.frames)
    squares = decode(paths[:DRAWN], chosen.size_px)[np.arange(chosen.frames) % min(DRAWN, chosen.frames)]
    resident_BCHW = torch.from_numpy(squares[: chosen.batch].copy()).to(device).permute(0, 3, 1, 2)
    passes = max(1, chosen.frames // chosen.batch)

    def resident() -> None:
        with torch.inference_mode(), autocast(device, "bfloat16"):
            for _ in range(passes):
                module(resident_BCHW)

    def files() -> None:
        for chunk in decoded(pool, paths, chosen):
            predictor.predict(chunk)

    calls: dict[str, tuple[int, Callable[[], object]]] = {
        "resident": (passes * len(resident_BCHW), resident),
        "memory": (chosen.frames, lambda: predictor.predict(squares)),
        "decode": (chosen.frames, lambda: list(decoded(pool, paths, chosen))),
        "files": (chosen.frames, files),
    }
    rates = {name: rate(frames, call, device, chosen.repeats) for name, (frames, call) in calls.items()}
    # A device that is fed by the same cores shares them; on a GPU the slower of the two is the limit.
    return {"frames_per_s": rates, "files_of_limit": rates["files"] / min(rates["decode"], rates["memory"])}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--frames", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--decoders", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("No CUDA device here: nothing was measured.", file=sys.stderr)
        return 2
    device = torch.device(chosen.device)
    before = machine()
    # CUDA does not survive a fork.
    pool = ProcessPoolExecutor(chosen.decoders, mp_context=multiprocessing.get_context("spawn"))
    with TemporaryDirectory() as folder, pool:
        result = measure(chosen, device, Path(folder), pool)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    result |= {
        "device": name,
        "network": f"{chosen.backbone} at {chosen.size_px} px, bfloat16",
        "batch": chosen.batch,
        "frames": chosen.frames,
        "decoders": chosen.decoders,
        "environment": before,
        "load_average_after": os.getloadavg(),
    }
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
