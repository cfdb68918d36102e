"""The forms in which a version leaves the registry: papers for people, files for other software."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from models.artifacts import ArtifactRefused, ModelSpec, build_module, load_weights
from models.imaging.bundle_export import export_bundle
from models.imaging.card import render_card
from models.imaging.onnx_export import export_onnx
from models.imaging.report import Passport, render_report
from models.schema import JsonObject

_EXPORTED_BUILDERS = ("lesion-detector",)


@dataclass(frozen=True)
class Source:
    """A version and what is known of it; `measured_on` names the dataset of a later evaluation."""

    spec: ModelSpec
    passport: Passport
    metrics: JsonObject
    measured_on: str | None
    weights: Path


def write(form: str, source: Source, path: Path) -> None:
    """Write one form of a version.

    Args:
        form: a key of `FORMS`.
        source: the version.
        path: of the file to write.

    Raises:
        ArtifactRefused: `form_not_known` for other models than detectors, or as `load_weights` and
            `build_module`.
    """
    FORMS[form](source, path)


def _card(source: Source, path: Path) -> None:
    path.write_text(render_card(source.spec, source.metrics, source.passport), encoding="utf-8")


def _report(source: Source, path: Path) -> None:
    text = render_report(source.spec, source.metrics, source.passport, measured_on=source.measured_on)
    path.write_text(text, encoding="utf-8")


def _onnx(source: Source, path: Path) -> None:
    builder = source.spec.builder.name
    if builder not in _EXPORTED_BUILDERS:
        raise ArtifactRefused("form_not_known", f"A model of the builder {builder} has no such form.")
    weights = load_weights(source.weights, source.passport.sha256)
    export_onnx(build_module(source.spec, weights), source.spec, path)


def _bundle(source: Source, path: Path) -> None:
    with TemporaryDirectory(dir=path.parent) as folder:
        onnx_file = Path(folder, "model.onnx")
        _onnx(source, onnx_file)
        export_bundle(
            source.spec,
            name=source.passport.name,
            version=source.passport.version,
            onnx_file=onnx_file,
            weights=source.weights,
            card=render_card(source.spec, source.metrics, source.passport),
            path=path,
        )


FORMS: Mapping[str, Callable[[Source, Path], None]] = {
    "card": _card,
    "report": _report,
    "onnx": _onnx,
    "monai-bundle": _bundle,
}
