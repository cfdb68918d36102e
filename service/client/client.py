"""`Enteron`: the API from Python, thin enough that its answers are the service's own.

client = Enteron.from_environment()
job = client.wait(client.analyze(["a.png", "b.png"]))
client.findings(job["result"]["analysis_id"])      # a pandas DataFrame
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from service.client import tables, waiting
from service.client.access import saved_access
from service.client.errors import EnteronError
from service.client.resources import Analysis, Dataset, File, Job, Model, ModelVersion
from service.client.transport import Body, Transport
from service.client.upload import OnBytes, chunks, media_type, pack, parts

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_URL = "http://127.0.0.1:8400"
_MULTIPART_BYTES = 60 << 20  # the service takes 64 MiB of multipart, its boundaries included
_MULTIPART_PARTS = 900


class Enteron:
    """A connection to one Enteron service, acting as the principal of one key."""

    def __init__(
        self, url: str = DEFAULT_URL, key: str | None = None, *, transport: Transport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.transport = transport or Transport(url, key)

    @classmethod
    def from_environment(cls) -> Self:
        """Address and key from ENTERON_API_URL and ENTERON_API_KEY, else from what `enteron up` wrote."""
        saved = saved_access(Path(os.environ.get("ENTERON_HOME", ".enteron")))
        url = os.environ.get("ENTERON_API_URL") or saved.get("url", DEFAULT_URL)
        key = os.environ.get("ENTERON_API_KEY")
        # The saved key is for the saved address only: it must not travel to another host.
        if key is None and url == saved.get("url"):
            key = saved.get("key")
        return cls(url, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.transport.close()

    # Who and whether

    def is_ready(self) -> bool:
        try:
            self.transport.get("/healthz/ready")
        except EnteronError:
            return False
        return True

    def me(self) -> dict[str, Any]:
        found: dict[str, Any] = self.transport.get("/me")
        return found

    def workers(self) -> list[dict[str, Any]]:
        return list(self.transport.pages("/workers"))

    # Files

    def upload(self, path: str | Path, *, on_bytes: OnBytes | None = None) -> File:
        """Stream one file of any size; it is never whole in memory."""
        source = Path(path)
        headers = {"Content-Type": media_type(source), "Content-Length": str(source.stat().st_size)}
        stored: File = self.transport.post(
            "/files", lambda: Body(content=chunks(source, on_bytes), headers=headers)
        )
        return stored

    def file(self, file_id: str) -> File:
        found: File = self.transport.get(f"/files/{file_id}")
        return found

    def download(self, file_id: str, target: str | Path) -> int:
        """Write the bytes of one's own file to a path; returns how many."""
        return self._save(f"/files/{file_id}/content", Path(target))

    def _save(self, path: str, target: Path) -> int:
        with self.transport.stream(path) as answer, target.open("wb") as file:
            return sum(file.write(chunk) for chunk in answer.iter_bytes())

    # Jobs

    def job(self, job_id: str) -> Job:
        found: Job = self.transport.get(f"/jobs/{job_id}")
        return found

    def jobs(self, *, limit: int = 50, kind: str | None = None, state: str | None = None) -> list[Job]:
        """The newest jobs, newest first."""
        page = self.transport.get("/jobs", limit=limit, kind=kind, state=state)
        items: list[Job] = page["items"]
        return items

    def cancel(self, job_id: str) -> Job:
        cancelled: Job = self.transport.post(f"/jobs/{job_id}/cancel", {})
        return cancelled

    def retry(self, job_id: str) -> Job:
        """Run a failed or cancelled job again; the answer is the new job."""
        submitted: Job = self.transport.post(f"/jobs/{job_id}/retry", {})
        return submitted

    def wait(
        self,
        job: Job | str,
        on_progress: waiting.OnProgress | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Job:
        """The job once it has succeeded; `JobFailed` when it ends otherwise, `TimedOut` when it goes on."""
        job_id = job if isinstance(job, str) else job["id"]
        return waiting.wait(self.transport, job_id, on_progress=on_progress, timeout_s=timeout_s)

    def selftest(self, *, steps: int = 3, step_s: float = 0.05) -> Job:
        """Submit a job that only counts: API, database, dispatcher, broker, worker and runner in one."""
        submitted: Job = self.transport.post("/jobs", {"kind": "selftest", "steps": steps, "step_s": step_s})
        return submitted

    def metrics(self, job: Job | str) -> "pd.DataFrame":
        """Stored series of a job: columns name, step, value."""
        return tables.metrics(self.series(job if isinstance(job, str) else job["id"]))

    def series(self, job_id: str) -> dict[str, list[tuple[int, float | None]]]:
        """Stored series of a job by name: (step, value), in order."""
        found: dict[str, list[tuple[int, float | None]]] = self.transport.get(f"/jobs/{job_id}/metrics")[
            "series"
        ]
        return found

    # Analyses

    def analyze(
        self,
        paths: Sequence[str | Path],
        *,
        model: str | None = None,
        operating_point: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> Job:
        """Submit images, or zips of them, for reading; much at once goes as stored files."""
        sources = [Path(path) for path in paths]
        fields = _given(model=model, operating_point=operating_point)
        size = sum(path.stat().st_size for path in sources)
        if len(sources) <= _MULTIPART_PARTS and size <= _MULTIPART_BYTES:
            return self._submit_frames(sources, fields, on_bytes)
        with TemporaryDirectory() as folder:
            packed = pack(sources, Path(folder, "frames.zip"))
            file_ids = [self.upload(path, on_bytes=on_bytes)["id"] for path in packed]
        submitted: Job = self.transport.post("/analyses", {**fields, "file_ids": file_ids})
        return submitted

    def _submit_frames(
        self, sources: Sequence[Path], fields: Mapping[str, str], on_bytes: OnBytes | None
    ) -> Job:
        with ExitStack() as opened:

            def body() -> Body:
                return Body(
                    files=parts(sources, field="frames", opened=opened, on_bytes=on_bytes), data=fields
                )

            submitted: Job = self.transport.post("/analyses", body)
            return submitted

    def analysis(self, analysis_id: str) -> Analysis:
        found: Analysis = self.transport.get(f"/analyses/{analysis_id}")
        return found

    def replay(self, analysis_id: str) -> Job:
        """Submit a second reading of the same bytes; the result says whether every bit is the same."""
        submitted: Job = self.transport.post(f"/analyses/{analysis_id}/replay", {})
        return submitted

    def frames(self, analysis_id: str) -> list[dict[str, Any]]:
        """Every frame of an analysis with its findings, as the API gives them."""
        return list(self.transport.pages(f"/analyses/{analysis_id}/frames", limit=200))

    def findings(self, analysis_id: str) -> "pd.DataFrame":
        """One row per frame and label; an unreadable frame is a row with `error` alone."""
        return tables.findings(self.frames(analysis_id))

    def image(self, analysis_id: str, ordinal: int) -> bytes:
        return self.transport.send("GET", f"/analyses/{analysis_id}/frames/{ordinal}/image").content

    def overlay(self, analysis_id: str, ordinal: int, label: str) -> bytes:
        """Heat map of one label as a transparent PNG of the frame's size."""
        path = f"/analyses/{analysis_id}/frames/{ordinal}/overlay"
        return self.transport.send("GET", path, params={"label": label}).content

    # Predictions

    def predict(self, model: str, *, file_id: str | None = None, dataset_id: str | None = None) -> Job:
        """Run any registered model on a fitting file or dataset."""
        body = _given(model=model, file_id=file_id, dataset_id=dataset_id)
        submitted: Job = self.transport.post("/predictions", body)
        return submitted

    def predictions(self, prediction_id: str) -> "pd.DataFrame":
        return tables.predictions(self.prediction_rows(prediction_id))

    def prediction_rows(self, prediction_id: str) -> list[dict[str, Any]]:
        return list(self.transport.pages(f"/predictions/{prediction_id}/rows", limit=200))

    # Datasets and training

    def add_dataset(
        self,
        name: str,
        file_ids: Sequence[str],
        *,
        format: str,  # noqa: A002 - the API's word
        kind: str = "frames",
        options: Mapping[str, Any] | None = None,
    ) -> Job:
        body = {"name": name, "kind": kind, "format": format, "file_ids": list(file_ids)}
        submitted: Job = self.transport.post("/datasets", {**body, "options": dict(options or {})})
        return submitted

    def dataset(self, dataset_id: str) -> Dataset:
        found: Dataset = self.transport.get(f"/datasets/{dataset_id}")
        return found

    def datasets(self) -> list[Dataset]:
        return list(self.transport.pages("/datasets", limit=200))

    def backbones(self) -> list[dict[str, Any]]:
        return list(self.transport.pages("/backbones"))

    def train(
        self,
        recipe: str,
        dataset_id: str,
        *more_dataset_ids: str,
        backbone: str | None = None,
        params: Mapping[str, Any] | None = None,
        model_name: str | None = None,
        compare: Mapping[str, Any] | None = None,
    ) -> Job:
        """A new version; with `compare` (`folds`, `seeds`, `order`) a table of the recipe's arms instead."""
        body: dict[str, Any] = {
            **_given(recipe=recipe, dataset_id=dataset_id, backbone=backbone, model_name=model_name),
            "more_dataset_ids": list(more_dataset_ids),
            "params": dict(params or {}),
            "compare": None if compare is None else dict(compare),
        }
        submitted: Job = self.transport.post("/trainings", body)
        return submitted

    def synthesize(
        self, *, seed: int, frames: int, domain: Literal["train", "test"] = "train", size_px: int = 336
    ) -> Job:
        """Have capsule-like frames drawn by code, as a labelled zip; the result names the file."""
        body = {"seed": seed, "frames": frames, "domain": domain, "size_px": size_px}
        submitted: Job = self.transport.post("/syntheses", body)
        return submitted

    # Models

    def models(self) -> "pd.DataFrame":
        """One row per version: name, version, aliases, task, evidence, created_at, sha256."""
        return tables.models(self.list_models())

    def list_models(self) -> list[Model]:
        return list(self.transport.pages("/models", limit=200))

    def model_version(self, name: str, version: int) -> ModelVersion:
        found: ModelVersion = self.transport.get(f"/models/{name}/versions/{version}")
        return found

    def evaluation(self, name: str, version: int) -> dict[str, Any]:
        found: dict[str, Any] = self.transport.get(f"/models/{name}/versions/{version}/evaluation")
        return found

    def evaluate(self, name: str, version: int, dataset_id: str) -> Job:
        path = f"/models/{name}/versions/{version}/evaluation"
        submitted: Job = self.transport.post(path, {"dataset_id": dataset_id})
        return submitted

    def promote(
        self, name: str, version: int, *, reason: str, alias: str = "champion", force: bool = False
    ) -> Any:
        """Point an alias at a version; what is worse than the champion takes its place only by force."""
        body = {"version": version, "reason": reason, "force": force}
        return self.transport.send("PUT", f"/models/{name}/aliases/{alias}", body=body).json()

    def comparison(self, name: str, version: int) -> dict[str, Any]:
        """How a version compares with the champion, label by label."""
        found: dict[str, Any] = self.transport.get(f"/models/{name}/versions/{version}/comparison")
        return found

    def rollback(self, name: str, *, reason: str, alias: str = "champion") -> Any:
        return self.transport.post(f"/models/{name}/aliases/{alias}/rollback", {"reason": reason})

    def promotions(self, name: str) -> list[dict[str, Any]]:
        return list(self.transport.pages(f"/models/{name}/promotions"))

    def import_version(self, name: str, weights: str | Path, spec: Mapping[str, Any]) -> ModelVersion:
        source = Path(weights)

        def body() -> Body:
            content = ("weights", (source.name, opened.enter_context(source.open("rb"))))
            return Body(files=[content], data={"spec": json.dumps(spec)})

        with ExitStack() as opened:
            made: ModelVersion = self.transport.post(f"/models/{name}/import", body)
            return made

    def export_version(
        self,
        name: str,
        version: int,
        target: str | Path,
        *,
        form: Literal["safetensors", "spec", "onnx", "monai-bundle"] = "safetensors",
    ) -> int:
        """Write a version to a file; returns its size in bytes. All but the first two forms must be made."""
        return self._save(f"/models/{name}/versions/{version}/export?format={form}", Path(target))

    def make_file(
        self,
        name: str,
        version: int,
        form: Literal["card", "report", "onnx", "monai-bundle"],
        *,
        evaluation_id: str | None = None,
    ) -> Job:
        """Have a file of a version made; when the job has succeeded, it can be fetched."""
        path, body = (
            f"/models/{name}/versions/{version}/exports",
            _given(format=form, evaluation_id=evaluation_id),
        )
        submitted: Job = self.transport.post(path, body)
        return submitted

    def save_paper(
        self,
        name: str,
        version: int,
        target: str | Path,
        *,
        form: Literal["card", "report"],
        evaluation_id: str | None = None,
    ) -> int:
        """Write a version's card, or the report of its training or of one evaluation, as HTML to a file."""
        page = "card" if form == "card" else "evaluation"
        of = "" if evaluation_id is None else f"&evaluation_id={evaluation_id}"
        return self._save(f"/models/{name}/versions/{version}/{page}?format=html{of}", Path(target))


def _given(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}
