"""An ingested dataset as a folder on this worker's disk."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from service.store import ingests
from workers.claimed import Claimed


def fetch_all(job: Claimed, dataset_ids: Sequence[UUID]) -> Path:
    """As `fetch`; several come as a folder of numbered ones."""
    if len(dataset_ids) == 1:
        return fetch(job, dataset_ids[0])
    folder = job.scratch / "datasets"
    folder.mkdir()
    for number, dataset_id in enumerate(dataset_ids):
        _fetch_into(job, dataset_id, folder / str(number))
    return folder


def fetch(job: Claimed, dataset_id: UUID) -> Path:
    """Fetch the dataset's objects, hashes checked, into the job's scratch folder."""
    folder = job.scratch / "dataset"
    _fetch_into(job, dataset_id, folder)
    return folder


def _fetch_into(job: Claimed, dataset_id: UUID, folder: Path) -> None:
    with job.session() as session:
        dataset = ingests.load_ready(session, dataset_id)
    folder.mkdir()
    for done, (name, stored) in enumerate(sorted(dataset.objects.items()), start=1):
        # The names are ingest's own; a row that says otherwise must still not lead out of the folder.
        job.objects.fetch_to(stored.object_key, folder / Path(name).name, expected_sha256=stored.sha256)
        job.progress(done, len(dataset.objects), "files", "fetching")


def fetch_training_index(job: Claimed, model_version_id: UUID) -> Path | None:
    """Index of the dataset that a version was made from; None if it was imported, or is not ours to see."""
    with job.session() as session:
        stored = ingests.load_training_index(session, model_version_id)
    if stored is None:
        return None
    path = job.scratch / "training-index.parquet"
    job.objects.fetch_to(stored.object_key, path, expected_sha256=stored.sha256)
    return path
