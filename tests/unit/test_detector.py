import numpy as np
import pytest
import torch

from models.imaging.detector import build_detector, masked_bce, pool, standardise
from models.schema import SchemaError


def small_detector(labels=3, **params):
    torch.manual_seed(0)
    return build_detector("resnet10", {"width": 0.125} | params, labels)


@pytest.mark.parametrize("output_stride", [16, 32])
@pytest.mark.parametrize("training", [False, True])
def test_mean_of_the_map_plus_bias_is_the_logit(output_stride, training):
    detector = small_detector(output_stride=output_stride).train(training)
    torch.nn.init.normal_(detector.head.bias)
    output = detector(torch.randint(0, 256, (4, 3, 96, 64), dtype=torch.uint8))
    rebuilt = output.cam_BKhw.mean(dim=(2, 3)) + detector.head.bias
    torch.testing.assert_close(rebuilt, output.logits_BK, atol=1e-5, rtol=0)


def test_the_identity_holds_under_bf16_autocast():
    detector = small_detector().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = detector(torch.rand(2, 3, 64, 64))
    assert {tensor.dtype for tensor in output} == {torch.float32}
    rebuilt = output.cam_BKhw.mean(dim=(2, 3)) + detector.head.bias
    torch.testing.assert_close(rebuilt, output.logits_BK, atol=1e-5, rtol=0)


def test_output_shapes():
    output = small_detector(labels=5).eval()(torch.zeros(2, 3, 64, 64))
    assert [tuple(tensor.shape) for tensor in output] == [(2, 5), (2, 64), (2, 5, 2, 2)]


def test_bytes_and_fractions_of_one_are_the_same_frame():
    detector = small_detector().eval()
    frames = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(detector(frames).logits_BK, detector(frames.float() / 255).logits_BK)


def test_normalisation_constants_follow_the_module_but_not_its_weights_file():
    detector = build_detector("resnet10", {"width": 0.125}, 1, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    assert detector.normalise(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist() == pytest.approx(
        [0.4, 0.15, 0.05]
    )
    assert not {"mean", "std"} & set(detector.state_dict())
    assert detector.to(torch.float64).mean.dtype == torch.float64


def test_unknown_labels_give_no_gradient():
    logits = torch.randn(3, 2, requires_grad=True)
    masked_bce(logits, torch.tensor([[1, -1], [0, -1], [-1, 1]])).backward()
    assert logits.grad[:, 1].tolist()[:2] == [0, 0]
    assert logits.grad[2, 0] == 0
    assert logits.grad[0, 0] != 0


def test_masked_loss_is_the_mean_over_known_labels():
    logits = torch.tensor([[0.3, -2.0], [1.5, 0.7]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor([0.3, 0.7]), torch.tensor([1.0, 0.0])
    )
    torch.testing.assert_close(masked_bce(logits, torch.tensor([[1, -1], [-1, 0]])), expected)


def test_a_batch_without_known_labels_has_no_loss():
    logits = torch.randn(2, 2, requires_grad=True)
    loss = masked_bce(logits, torch.full((2, 2), -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize("training", [False, True])
def test_the_pooled_map_plus_bias_is_the_logit_under_log_sum_exp(training):
    torch.manual_seed(0)
    detector = build_detector("resnet10", {"width": 0.125}, 3, pooling="log-sum-exp").train(training)
    torch.nn.init.normal_(detector.head.bias)
    output = detector(torch.randint(0, 256, (4, 3, 96, 64), dtype=torch.uint8))
    cells = output.cam_BKhw.double().flatten(2)
    rebuilt = cells.exp().mean(dim=2).log() + detector.head.bias
    torch.testing.assert_close(rebuilt.float(), output.logits_BK, atol=1e-5, rtol=0)


def test_one_strong_cell_decides_under_log_sum_exp_and_drowns_in_the_mean():
    cam = torch.zeros(1, 1, 7, 7)
    cam[..., 3, 3] = 20
    assert pool(cam, "mean").item() == pytest.approx(20 / 49)
    assert pool(cam, "log-sum-exp").item() == pytest.approx(20 - np.log(49), abs=1e-5)


def test_detached_routing_keeps_the_backbone_still():
    for pooling in ("mean", "log-sum-exp"):
        detector = build_detector("resnet10", {"width": 0.125}, 1, routing="detached", pooling=pooling)
        detector(torch.rand(2, 3, 64, 64)).logits_BK.sum().backward()
        assert {name for name, weight in detector.named_parameters() if weight.grad is not None} == {
            "head.weight",
            "head.bias",
        }


def test_an_unknown_pooling_is_refused():
    with pytest.raises(SchemaError):
        build_detector("resnet10", {}, 1, pooling="max")


def test_per_frame_colour_forgets_lamp_and_white_balance():
    torch.manual_seed(0)
    frames = torch.rand(2, 3, 32, 32) * 0.5 + 0.1
    frames[:, :, :4] = 0  # outside the field of view
    gains = torch.tensor([1.6, 0.9, 1.2]).view(1, 3, 1, 1)
    seen, again = standardise(frames), standardise(frames * gains)
    assert seen[:, :, :4].abs().max() == 0
    field = seen[:, :, 4:]
    torch.testing.assert_close(field.mean(dim=(2, 3)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    # Less than 1 by what keeps flat frames flat.
    assert ((field.std(dim=(2, 3)) > 0.8) & (field.std(dim=(2, 3)) < 1)).all()
    assert (seen - again).abs().max() < 0.1 < (frames * gains - frames).abs().max() * 4


def test_a_frame_of_one_colour_stays_flat():
    assert standardise(torch.full((1, 3, 8, 8), 0.4)).abs().max() < 1e-4
    assert standardise(torch.zeros(1, 3, 8, 8)).abs().max() == 0
