"""Triplet losses against the plainest loops that can be written, and what must hold of any of them."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.imaging.triplet import Mining, TripletParams, distances, relations, triplet_loss

SHAPES = st.tuples(st.integers(2, 7), st.integers(1, 3))


@st.composite
def batches(draw):
    """Embeddings of 4 dimensions and labels of 1 to 3, some unknown."""
    frames, labels = draw(SHAPES)
    coordinates = st.integers(-8, 8).map(lambda number: number / 4)
    embedding = draw(arrays.arrays(np.float32, (frames, 4), elements=coordinates))
    known = draw(arrays.arrays(np.int8, (frames, labels), elements=st.integers(-1, 1)))
    return torch.from_numpy(embedding), torch.from_numpy(known)


def is_different(one, other):
    return any({a, b} == {0, 1} for a, b in zip(one, other, strict=True))


def is_alike(one, other):
    both_positive = any(a == b == 1 for a, b in zip(one, other, strict=True))
    return not is_different(one, other) and (both_positive or -1 not in (*one, *other))


def distance(one, other, params):
    squared = float(((one.double() - other.double()) ** 2).sum())
    return squared if params.squared else squared**0.5


def penalty(difference, params):
    return float(np.logaddexp(0, difference)) if params.soft else max(0.0, difference + params.margin)


def slow_batch_all(embedding, rows, params):
    penalties, active, valid = 0.0, 0, 0
    for a, p, n in product(range(len(rows)), repeat=3):
        if a == p or not is_alike(rows[a], rows[p]) or not is_different(rows[a], rows[n]):
            continue
        difference = distance(embedding[a], embedding[p], params) - distance(
            embedding[a], embedding[n], params
        )
        valid += 1
        active += difference + params.margin > 0
        penalties += penalty(difference, params)
    counted = 1 if params.summed else valid if params.soft else active
    return penalties / max(counted, 1), active / max(valid, 1)


def slow_batch_hard(embedding, rows, params):
    penalties, active = [], 0
    for a, row in enumerate(rows):
        near = [
            distance(embedding[a], embedding[n], params)
            for n in range(len(rows))
            if is_different(row, rows[n])
        ]
        far = [
            distance(embedding[a], embedding[p], params)
            for p in range(len(rows))
            if p != a and is_alike(row, rows[p])
        ]
        if near and far:
            difference = max(far) - min(near)
            penalties.append(penalty(difference, params))
            active += difference + params.margin > 0
    count = max(len(penalties), 1)
    return sum(penalties) / (1 if params.summed else count), active / count


SLOW = {"batch-all": slow_batch_all, "batch-hard": slow_batch_hard}


@pytest.mark.parametrize("mining", SLOW)
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@given(batch=batches(), summed=st.booleans())
def test_is_what_the_plain_loops_give(mining: Mining, squared: bool, soft: bool, batch, summed):
    # The margin is no difference of distances on the quarter grid: none is at the edge of being active.
    params = TripletParams(mining=mining, margin=0.2137, squared=squared, soft=soft, summed=summed)
    embedding, labels = batch
    found = triplet_loss(embedding, labels, params)
    loss, active = SLOW[mining](embedding, labels.tolist(), params)
    assert found.loss.item() == pytest.approx(loss, rel=1e-4, abs=1e-5)
    assert found.active.item() == pytest.approx(active, abs=1e-6)


@given(batch=batches())
def test_relations_are_symmetric_and_exclude_each_other(batch):
    pairs = relations(batch[1])
    assert torch.equal(pairs.alike_BB, pairs.alike_BB.T)
    assert torch.equal(pairs.different_BB, pairs.different_BB.T)
    assert not (pairs.alike_BB & pairs.different_BB).any()
    assert not pairs.alike_BB.diagonal().any()


@pytest.mark.parametrize("mining", SLOW)
@given(batch=batches())
def test_gradients_are_finite_even_of_equal_embeddings_and_unused_anchors(mining: Mining, batch):
    embedding = torch.cat([batch[0], batch[0][:1]]).requires_grad_()
    labels = torch.cat([batch[1], batch[1][:1]])
    triplet_loss(embedding, labels, TripletParams(mining=mining)).loss.backward()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()


@pytest.mark.parametrize("mining", SLOW)
@pytest.mark.parametrize("labels", [[[1], [1], [1]], [[-1], [-1], [-1]], [[1], [0], [-1]]])
def test_without_a_valid_triplet_it_is_zero_and_not_nan(mining: Mining, labels):
    embedding = torch.randn(3, 4, requires_grad=True)
    found = triplet_loss(embedding, torch.tensor(labels), TripletParams(mining=mining))
    assert (found.loss.item(), found.active.item()) == (0.0, 0.0)
    found.loss.backward()


@pytest.mark.parametrize("mining", SLOW)
def test_satisfied_triplets_cost_nothing(mining: Mining):
    embedding = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    found = triplet_loss(embedding, torch.tensor([[1], [1], [0], [0]]), TripletParams(mining=mining))
    assert (found.loss.item(), found.active.item()) == (0.0, 0.0)


@pytest.mark.parametrize("mining", SLOW)
def test_descending_it_parts_the_kinds(mining: Mining):
    """Three kinds from one cloud: afterwards every frame's nearest neighbour is of its kind."""
    torch.manual_seed(0)
    embedding = torch.randn(24, 8, requires_grad=True)
    labels = torch.eye(3, dtype=torch.int8)[torch.arange(24) % 3]
    optimiser = torch.optim.SGD([embedding], lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        triplet_loss(embedding, labels, TripletParams(mining=mining)).loss.backward()
        optimiser.step()
    nearest = torch.cdist(embedding, embedding).fill_diagonal_(torch.inf).argmin(dim=1)
    assert torch.equal(labels[nearest], labels)


def test_small_distances_between_long_embeddings_keep_their_digits():
    """The expansion of the square by a matrix product gives 0 or noise here."""
    embedding = torch.full((2, 2048), 30.0)
    embedding[1, 0] += 0.001
    labels, params = torch.tensor([[1], [1]]), TripletParams(mining="batch-hard")
    far = torch.cat([embedding, torch.zeros(1, 2048)])
    found = triplet_loss(far, torch.cat([labels, torch.tensor([[0]])]), params)
    assert found.loss.item() == 0.0
    assert distances(embedding, squared=False)[0, 1].item() == pytest.approx(0.001, rel=0.01)
