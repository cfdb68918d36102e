import numpy as np
import pytest
import torch

from models.imaging.augment import NONE
from models.imaging.decoded import Coverage
from models.imaging.detector import build_detector
from models.imaging.lesion_task import LesionTask, TaskSettings, cell_loss, pointing_loss
from models.imaging.triplet import TripletParams
from models.training import TrainingConfig, train


def make_task(*, map_weight=0.0, coverage=None, triplet=None, routing="joint"):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    labels = np.array([[i % 2, -1 if i < 2 else i // 4] for i in range(8)], np.int8)
    torch.manual_seed(0)
    everything = np.arange(8)
    return LesionTask(
        build_detector("resnet10", {"width": 0.125}, 2, routing=routing),
        frames,
        labels,
        train_N=everything,
        tune_N=everything,
        coverage=coverage,
        settings=TaskSettings(
            batch_size=8, steps_per_epoch=1, augmentation=NONE, map_weight=map_weight, triplet=triplet
        ),
        device=torch.device("cpu"),
    )


def test_the_detector_overfits_eight_frames(tmp_path):
    task = make_task()
    config = TrainingConfig(epochs=40, optimiser="adamw", learning_rate=0.01, precision="float32")
    outcome = train(task, config, tmp_path, device=torch.device("cpu"))
    assert outcome.best_metrics["tune_mean_auc"] == 1.0
    assert outcome.best_metrics["tune_loss"] < 0.3


def test_of_equal_rankings_the_lower_loss_is_better():
    task = make_task()
    with torch.no_grad():
        metrics = task.evaluate(task.module.eval())
    assert metrics["tune_score"] == pytest.approx(metrics["tune_mean_auc"] - 0.001 * metrics["tune_loss"])


def test_triplets_are_added_with_their_weight_and_logged():
    batch = np.arange(8)
    plain = make_task().loss(make_task().module.train(), batch).loss.item()
    task = make_task(triplet=TripletParams(weight=0.5))
    step = task.loss(task.module.train(), batch)
    told = step.logs
    assert told["classification_loss"] == pytest.approx(plain, rel=1e-5)
    assert step.loss.item() == pytest.approx(plain + 0.5 * told["triplet_loss"], rel=1e-5)
    assert 0 < told["active_triplets"] <= 1
    assert told["embedding_norm"] > 0


@pytest.mark.parametrize(
    ("routing", "triplet", "backbone_learns"),
    [("joint", None, True), ("detached", None, False), ("detached", TripletParams(), True)],
)
def test_routing_decides_what_trains_the_backbone(routing, triplet, backbone_learns):
    """Cross-entropy end to end, on frozen features, and beside triplets that alone train the backbone."""
    task = make_task(routing=routing, triplet=triplet)
    task.loss(task.module.train(), np.arange(8)).loss.backward()
    assert (task.module.backbone.conv1.weight.grad is not None) is backbone_learns
    assert task.module.head.weight.grad is not None


def test_the_triplet_loss_gives_the_classifier_no_gradient():
    heads = []
    for triplet in (None, TripletParams(weight=10)):
        task = make_task(routing="detached", triplet=triplet)
        task.loss(task.module.train(), np.arange(8)).loss.backward()
        heads.append(task.module.head.weight.grad)
    torch.testing.assert_close(*heads)


def lesion_at(row, column):
    share = torch.zeros(1, 1, 32, 32)
    share[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 1
    return share


def test_pointing_at_the_lesion_costs_nothing():
    cam = torch.zeros(1, 1, 4, 4)
    cam[0, 0, 2, 1] = 50
    known = torch.ones(1, 1, dtype=torch.bool)
    assert pointing_loss(cam, lesion_at(2, 1), known) == pytest.approx(0, abs=1e-5)
    assert pointing_loss(cam, lesion_at(0, 3), known) > 10


def test_a_map_that_does_not_care_costs_the_log_of_its_cells():
    known = torch.ones(1, 1, dtype=torch.bool)
    assert pointing_loss(torch.zeros(1, 1, 4, 4), lesion_at(1, 1), known).item() == pytest.approx(np.log(16))


def test_the_level_of_a_map_does_not_matter():
    cam, known = torch.randn(1, 1, 4, 4), torch.ones(1, 1, dtype=torch.bool)
    low, high = (pointing_loss(cam + level, lesion_at(0, 0), known) for level in (-5, 5))
    torch.testing.assert_close(low, high)


def test_unknown_places_have_no_gradient():
    cam = torch.randn(2, 1, 4, 4, requires_grad=True)
    share = torch.cat([lesion_at(0, 0), lesion_at(1, 1)])
    pointing_loss(cam, share, torch.tensor([[True], [False]])).backward()
    assert cam.grad[0].abs().sum() > 0
    assert cam.grad[1].abs().sum() == 0


@pytest.mark.parametrize("share", [lesion_at(0, 0), torch.zeros(1, 1, 32, 32)])
def test_nothing_known_costs_nothing(share):
    known = torch.tensor([[bool(share.sum() == 0)]])
    loss = pointing_loss(torch.randn(1, 1, 4, 4, requires_grad=True), share, known)
    loss.backward()
    assert loss.item() == 0


def test_places_of_negative_or_unknown_labels_are_not_asked_for():
    coverage = Coverage(np.full((8, 2, 32, 32), 255, np.uint8), np.ones((8, 2), bool))
    task = make_task(map_weight=1.0, coverage=coverage)
    logs = task.loss(task.module, np.array([0, 2, 4, 6])).logs
    assert logs["pointing_loss"] == pytest.approx(0, abs=1e-5)
    assert set(logs) == {"classification_loss", "pointing_loss"}


def test_cells_are_asked_for_the_share_that_is_lesion():
    torch.manual_seed(0)
    cells, share = torch.randn(3, 2, 2, 2), torch.rand(3, 2, 4, 4)
    known = torch.tensor([[True, False], [False, False], [False, True]])
    absent = torch.tensor([[False, True], [False, False], [False, False]])
    expected = []
    for b, k in [(0, 0), (0, 1), (2, 1)]:
        for row in range(2):
            for column in range(2):
                there = share[b, k, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean()
                target = there if known[b, k] else torch.tensor(0.0)
                chance = torch.sigmoid(cells[b, k, row, column])
                expected.append(-(target * chance.log() + (1 - target) * (1 - chance).log()))
    torch.testing.assert_close(cell_loss(cells, share, known, absent), torch.stack(expected).mean())


def test_where_nothing_is_known_cells_are_asked_nothing():
    cells = torch.randn(2, 1, 2, 2, requires_grad=True)
    nothing = torch.zeros(2, 1, dtype=torch.bool)
    cell_loss(cells, torch.rand(2, 1, 4, 4), nothing, nothing).backward()
    assert cells.grad.abs().sum() == 0
