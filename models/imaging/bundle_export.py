"""A detector as a MONAI bundle: one zip with the folder that MONAI's specification describes.

The specification asks for `models/model.pt`, a pickled state dict. Nothing here pickles, so the bundle has
`model.onnx`, with which `configs/inference.json` reads frames, and `model.safetensors`, from which Enteron
imports the version again together with `configs/spec.json`.
"""

import importlib.metadata
import json
import zipfile
from pathlib import Path
from typing import Any

from models.artifacts import ModelSpec
from models.imaging import preprocess
from models.imaging.report_words import RESEARCH_USE
from models.schema import JsonObject, encode

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
_SCRIPTS = Path(__file__).parent
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # equal versions give equal bundles
_INFERENCE: JsonObject = {
    "imports": ["$import glob", "$from scripts.reader import write_findings"],
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/frames'",
    "output_file": "$@bundle_root + '/findings.json'",
    "device": "$torch.device('cpu')",
    "datalist": "$sorted(glob.glob(@dataset_dir + '/*'))",
    "network_def": {
        "_target_": "scripts.reader.OnnxDetector",
        "path": "$@bundle_root + '/models/model.onnx'",
    },
    "preprocessing": {"_target_": "scripts.reader.ReadFrame", "size_px": "@size_px"},
    "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
    "inferer": {"_target_": "SimpleInferer"},
    "spec_file": "$@bundle_root + '/configs/spec.json'",
    "run": ["$write_findings(@network_def, @dataset, @spec_file, @output_file)"],
}


def export_bundle(
    spec: ModelSpec, *, name: str, version: int, onnx_file: Path, weights: Path, card: str, path: Path
) -> None:
    """Write the bundle.

    Args:
        spec: of the version.
        name: of the model; with the version it names the folder in the zip.
        version: its number.
        onnx_file: from `models.imaging.onnx_export`.
        weights: the version's safetensors file.
        card: its model card as HTML.
        path: of the zip.
    """
    root = f"{name}-{version}"
    texts = {
        "LICENSE": f"{spec.licence}\n",
        "configs/metadata.json": _json(_metadata(spec, version)),
        "configs/inference.json": _json({**_INFERENCE, "size_px": spec.input.size_px}),
        "configs/spec.json": spec.to_json(),
        "docs/README.md": _readme(spec, root),
        "docs/card.html": card,
        "scripts/__init__.py": "",
        "scripts/reader.py": (_SCRIPTS / "bundle_reader.py").read_text(),
        "scripts/preprocess.py": Path(preprocess.__file__).read_text(),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
        for inside, text in texts.items():
            bundle.writestr(_entry(f"{root}/{inside}"), text)
        for inside, file in (("model.onnx", onnx_file), ("model.safetensors", weights)):
            with file.open("rb") as source, bundle.open(_entry(f"{root}/models/{inside}"), "w") as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _LONG_AGO)


def _metadata(spec: ModelSpec, version: int) -> JsonObject:
    packages = {"onnxruntime": "1.17", "pillow": importlib.metadata.version("pillow")}
    return {
        "schema": _SCHEMA,
        "version": f"{version}.0.0",
        "changelog": {f"{version}.0.0": "exported by Enteron"},
        "monai_version": importlib.metadata.version("monai"),
        "pytorch_version": importlib.metadata.version("torch").partition("+")[0],
        "numpy_version": importlib.metadata.version("numpy"),
        "required_packages_version": packages,
        "name": spec.name,
        "task": f"Findings in capsule endoscopy frames: {', '.join(spec.label_names)}",
        "description": f"{spec.limitations} {RESEARCH_USE}",
        "authors": "see docs/README.md",
        "copyright": spec.licence,
        "intended_use": spec.intended_use,
        "references": [spec.paper],
        "network_data_format": {"inputs": {"image": _input(spec)}, "outputs": {"pred": _output(spec)}},
        "enteron": {
            "calibration": encode(spec.calibration),
            "operating_points": encode(spec.operating_points),
        },
    }


def _input(spec: ModelSpec) -> JsonObject:
    side = spec.input.size_px
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "capsule endoscopy",
        "num_channels": spec.input.channels,
        "spatial_shape": [side, side],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "red", "1": "green", "2": "blue"},
    }


def _output(spec: ModelSpec) -> JsonObject:
    return {
        "type": "probabilities",
        "format": "classes",
        "num_channels": len(spec.labels),
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(number): label.name for number, label in enumerate(spec.labels)},
    }


def _readme(spec: ModelSpec, root: str) -> str:
    labels = "\n".join(
        f"- {label.name}: {label.meaning}; evidence: {label.evidence}" for label in spec.labels
    )
    return f"""# {root}

**{RESEARCH_USE}**

{spec.intended_use}

{spec.limitations}

{labels}

To read the images in `frames/`, from the folder of this bundle:

    python -m monai.bundle run --config_file configs/inference.json --dataset_dir frames

It needs MONAI (with `fire` for this command), Pillow and onnxruntime, and writes `findings.json`.

There is no `models/model.pt`: a .pt file is a pickle, and to open one is to run what is in it.
`models/model.onnx` is what is run, in float32; `models/model.safetensors` holds the same weights, and with
`configs/spec.json` it is what `enteron model import` takes. `docs/card.html` is the model card.

Licence: {spec.licence}. Paper: {spec.paper}.
"""


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False)
