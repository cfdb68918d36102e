"""The same code on a CUDA device, where there is one."""

import numpy as np
import pytest
import torch
from torch import nn

from models.devices import fastest_dtype, place
from models.imaging.augment import Augmentation, augment
from models.imaging.detector import build_detector, masked_bce
from models.training import StepLoss, TrainingConfig, train

pytestmark = pytest.mark.gpu


class Frames:
    """Eight random frames to learn by heart on the device."""

    monitor = "score"

    def __init__(self, device):
        torch.manual_seed(0)
        self.module: nn.Module = build_detector("resnet10", {"width": 0.125}, 1)
        self.frames = torch.rand(8, 3, 64, 64, device=device)
        self.labels = (torch.arange(8, device=device) % 2).view(8, 1)

    def batches(self, epoch, rng):
        return [rng.permutation(8)]

    def loss(self, module, batch):
        frames, _ = augment(self.frames[batch], Augmentation(shift=0, scale=0))
        return StepLoss(masked_bce(module(frames).logits_BK, self.labels[batch]))

    def evaluate(self, module):
        return {"score": -masked_bce(module(self.frames).logits_BK, self.labels).item()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_and_resuming_work_on_the_device(precision, tmp_path):
    device = torch.device("cuda")
    config = TrainingConfig(epochs=20, optimiser="adamw", precision=precision, checkpoint_every_steps=5)
    task = Frames(device)
    stop_after = iter([False] * 10 + [True])
    stopped = train(task, config, tmp_path, device=device, should_stop=lambda: next(stop_after))
    outcome = train(Frames(device), config, tmp_path, device=device, resume_from=stopped.checkpoint)
    assert outcome.steps == 20
    assert outcome.best_metrics["score"] > -0.6


def test_the_device_answers_as_the_cpu_does():
    detector = build_detector("resnet10", {"width": 0.125}, 2).eval()
    frames = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        expected = detector(frames).logits_BK.numpy()
        found = place(detector, torch.device("cuda"))(frames.cuda()).logits_BK.cpu().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_the_precision_is_timed_on_the_device():
    assert fastest_dtype(torch.device("cuda"), budget_s=0.1).bfloat16_s > 0
