"""An ingested dataset as a folder on this worker's disk."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from service.store import ingests
from service.store.ingests import ReadyDataset
from workers.claimed import Claimed


def fetch_all(job: Claimed, dataset_ids: Sequence[UUID]) -> tuple[ReadyDataset, Path]:
    """As `fetch`; several come as a folder of numbered ones, and the first of them is answered."""
    if len(dataset_ids) == 1:
        return fetch(job, dataset_ids[0])
    folder = job.scratch / "datasets"
    folder.mkdir()
    found = [_fetch_into(job, dataset_id, folder / str(n)) for n, dataset_id in enumerate(dataset_ids)]
    return found[0], folder


def fetch(job: Claimed, dataset_id: UUID) -> tuple[ReadyDataset, Path]:
    """Fetch the dataset's objects, hashes checked, into the job's scratch folder."""
    folder = job.scratch / "dataset"
    return _fetch_into(job, dataset_id, folder), folder


def _fetch_into(job: Claimed, dataset_id: UUID, folder: Path) -> ReadyDataset:
    with job.session() as session:
        dataset = ingests.load_ready(session, dataset_id)
    folder.mkdir()
    for done, (name, stored) in enumerate(sorted(dataset.objects.items()), start=1):
        # The names are ingest's own; a row that says otherwise must still not lead out of the folder.
        job.objects.fetch_to(stored.object_key, folder / Path(name).name, expected_sha256=stored.sha256)
        job.progress(done, len(dataset.objects), "files", "fetching")
    return dataset
