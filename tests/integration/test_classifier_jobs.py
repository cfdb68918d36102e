"""A classifier through the queue: trained from named weights, predicting, and no reader of lesions."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import torch
from PIL import Image
from sqlalchemy import text

from models.artifacts import Builder, InputContract, save_weights
from models.backbones.build import build_classifier
from models.imaging.classifier import build_image_classifier
from models.imaging.classifier_spec import make_spec
from models.imaging.preprocess import KERNEL
from models.schema import encode
from service.domain import media
from service.domain.errors import InvalidInput, ModelRefused
from service.domain.ids import new_id
from service.store import files, versions
from service.store.files import NewFile
from service.store.versions import NewVersion
from service.usecases import analyses, trainings
from service.usecases.analyses import Part
from tests.databases import Database
from tests.prediction_site import BLOCKS, FRAMES, Site, prediction_site

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL = {"backbone": "resnet10", "backbone_params": {"width": 0.125}}
CLASSES = ("polyp", "bleeding", "normal")
MEAN, STD = (0.5,) * 3, (0.25,) * 3
PARAMS = {
    "backbone_params": SMALL["backbone_params"], "size_px": 40, "epochs": 1, "batch_size": 4,
    "precision": "float32", "none_class": "normal",
}  # fmt: skip


@pytest.fixture
def site(committed_db: Database, tmp_path: Path) -> Iterator[Site]:
    with prediction_site(committed_db, tmp_path) as site:
        site.version = register_classifier(site, tmp_path)
        site.slot.heart.start()  # a training may last longer than a lease
        yield site
        site.slot.heart.stop()


def register_classifier(site: Site, folder: Path) -> versions.Registered:
    spec = make_spec(
        builder=Builder("image-classifier", SMALL | {"test_time": "ten-crop", "crop_px": 64}),
        contract=InputContract(size_px=72, channels=3, resize_kernel=KERNEL, mean=MEAN, std=STD),
        class_names=CLASSES,
        none_class="normal",
        evidence="none",
        dataset_fingerprint="none",
        contents=(),
        licence="none",
        paper="none",
        seed=0,
        dtype="float32",
    )
    torch.manual_seed(0)
    module = build_image_classifier(**spec.builder.params, class_count=len(CLASSES), mean=MEAN, std=STD)
    path = folder / "classifier.safetensors"
    sha256 = save_weights(module, path)
    site.slot.objects.put_file("classifier", path)
    new = NewVersion("image-classifier", encode(spec), {}, "classifier", sha256, path.stat().st_size)
    with site.bench.api() as session:
        return versions.register(session, tenant_id=site.bench.person.tenant_id, new=new)


@pytest.mark.parametrize("source", ["file_id", "dataset_id"])
def test_every_frame_is_given_probabilities_that_add_up_to_one(site: Site, source: str) -> None:
    job_id = site.submit(source)
    site.run(job_id)
    assert site.bench.view(job_id).state == "succeeded"
    assert len(site.blocks(job_id)) == BLOCKS
    with site.bench.api() as session:
        rows = list(session.scalars(text("SELECT outputs FROM prediction_row ORDER BY ordinal")))
    assert len(rows) == FRAMES
    assert all(set(row) == set(CLASSES) for row in rows)
    assert [sum(row.values()) for row in rows] == pytest.approx([1.0] * FRAMES, abs=1e-5)


def test_an_analysis_wants_a_reader_of_lesions(site: Site) -> None:
    frame = NewFile(new_id(), "frame", "0" * 64, 1, "image/png")
    with site.bench.api() as session, pytest.raises(ModelRefused, match="image-multiclass"):
        analyses.submit(
            session,
            site.bench.person,
            parts=[Part(frame, "a.png")],
            model="image-classifier:1",
            operating_point=None,
            max_queued=None,
        )


def write_frames(site: Site) -> None:
    """Twelve frames of four groups, bright or dark: what the site's dataset is made of from now on."""
    rng, table = np.random.default_rng(0), ["filename,group,polyp,bleeding"]
    with zipfile.ZipFile(site.archive, "w") as archive:
        for number in range(24):
            kind = number % 3
            pixels = (rng.normal(0, 5, (40, 40, 3)) + 60 + 60 * kind).clip(0, 255).astype(np.uint8)
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "PNG")
            archive.writestr(f"images/{number}.png", encoded.getvalue())
            table.append(f"{number}.png,group-{number // 6},{int(kind == 0)},{int(kind == 1)}")
        archive.writestr("labels.csv", "\n".join(table))


def store(site: Site, path: Path, media_type: str) -> UUID:
    key = f"uploaded/{path.name}"
    stored = site.slot.objects.put_file(key, path)
    file = NewFile(new_id(), key, stored.sha256, stored.size_bytes, media_type)
    owner = {"tenant_id": site.bench.person.tenant_id, "principal_id": site.bench.person.id}
    with site.bench.api() as session:
        files.insert_files(session, [file], **owner)
    return file.id


def submit_training(site: Site, dataset_id: UUID, initial_weights: str) -> UUID:
    with site.bench.api() as session:
        return trainings.submit(
            session,
            site.bench.person,
            recipe="image-classifier",
            dataset_ids=[dataset_id],
            backbone="resnet10",
            params=PARAMS | {"initial_weights": initial_weights},
            model_name=None,
            comparison=None,
            max_queued=10,
        ).id


def test_a_training_starts_from_an_uploaded_file_or_from_a_version(site: Site, tmp_path: Path) -> None:
    write_frames(site)
    dataset_id = site._dataset()
    torch.manual_seed(1)
    published = tmp_path / "published.safetensors"
    sha256 = save_weights(build_classifier("resnet10", SMALL["backbone_params"], 1000), published)
    file_id = store(site, published, media.WEIGHTS)
    for number, (named, fresh) in enumerate(
        [(str(file_id), ["fc.weight", "fc.bias"]), ("image-classifier:1", [])], start=2
    ):
        job_id = submit_training(site, dataset_id, named)
        site.run(job_id)
        view = site.bench.view(job_id)
        assert view.state == "succeeded", site.bench.row(job_id).error_detail
        assert (view.result["model"], view.result["version"]) == ("image-classifier", number)
        told = view.result["metrics"]["training"]
        assert told["initial_weights"]["fresh"] == fresh
        assert told["params"]["initial_weights"] == named
        assert (told["initial_weights"]["sha256"] == sha256) is (named == str(file_id))


def test_weights_of_another_architecture_fail_the_job_and_make_no_version(site: Site, tmp_path: Path) -> None:
    write_frames(site)
    other = tmp_path / "other.safetensors"
    save_weights(build_classifier("resnet18", SMALL["backbone_params"], 3), other)
    job_id = submit_training(site, site._dataset(), str(store(site, other, media.WEIGHTS)))
    site.run(job_id)
    row = site.bench.row(job_id)
    assert (row.state, row.error_code) == ("failed", "weights_mismatch")
    with site.bench.api() as session:
        found = session.scalars(text("SELECT task FROM model_version ORDER BY task")).all()
    assert found == ["image-multiclass", "image-multilabel"]


def test_what_is_named_must_be_safetensors_of_ones_own(site: Site) -> None:
    write_frames(site)
    dataset_id = site._dataset()
    picture = store(site, site.archive, media.ARCHIVE)
    for named, code in {
        str(picture): "not_safetensors",
        str(new_id()): "unknown_file",
        "image-classifier:9": "unknown_model",
        "../../weights": "invalid_input",
    }.items():
        with pytest.raises(InvalidInput) as refused:
            submit_training(site, dataset_id, named)
        assert refused.value.code == code
        assert [error.pointer for error in refused.value.errors] == ["/params/initial_weights"]
