"""Edits: what should change changes, what should stay stays, and nothing else is moved."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from tfvae.latent import Attribute, edit, fit_attributes, move_codes
from tfvae.latent.codes import Codes, encode

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(4, 4))
CODES = RNG.normal(size=(3000, 4)) @ MIX
TRUE = RNG.normal(size=(3, 4))


def readings(degree, count=3):
    labels = CODES @ TRUE.T
    if degree == 2:
        labels = labels + 0.1 * CODES[:, :1] * CODES[:, 1:4]
    codes = Codes(CODES, np.full_like(CODES, 1e-6))
    return [Attribute.fit_codes(codes, labels[:, k], degree=degree) for k in range(count)]


@pytest.mark.parametrize(("degree", "share", "tolerance"), [(1, 1.0, 1e-9), (2, 0.9, 2e-3)])
def test_one_reading_changes_and_the_kept_ones_do_not(degree, share, tolerance):
    """Exactly if readings are straight; if they bend, where the goal is not too far away."""
    first, *others = readings(degree)
    start = CODES[:50]
    amounts = np.linspace(-1, 1, 50)
    moved = move_codes(start, first, amounts, keep=others)
    errors = [first.score(moved) - first.score(start) - amounts]
    errors += [other.score(moved) - other.score(start) for other in others]
    assert np.quantile(np.abs(errors).max(axis=0), share) < tolerance


def test_no_amount_is_no_move():
    first, *others = readings(2)
    np.testing.assert_allclose(move_codes(CODES[:5], first, 0.0, others), CODES[:5], atol=1e-9)


def test_the_move_is_the_most_probable():
    first, second = readings(1, count=2)
    inverse = np.linalg.inv(first.code_covariance)
    rows = np.stack([a.direction(CODES[:1])[0] for a in (first, second)])
    best = optimize.minimize(
        lambda d: d @ inverse @ d,
        np.zeros(4),
        constraints={"type": "eq", "fun": lambda d: rows @ d - [0.7, 0.0]},
        tol=1e-12,
    )
    found = move_codes(CODES[:1], first, 0.7, [second]) - CODES[:1]
    np.testing.assert_allclose(found[0], best.x, atol=1e-4)


def test_what_varies_independently_stays_without_being_named():
    """Two labels that are independent over the codes: the move of one leaves the other alone,
    which the shortest move does not."""
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(20_000, 2))
    codes = factors @ np.array([[2.0, 0.4], [0.0, 0.5]])
    belief = Codes(codes, np.full_like(codes, 1e-6))
    first, second = (Attribute.fit_codes(belief, factors[:, k], degree=1) for k in range(2))
    move = move_codes(codes[:1], first, 1.0) - codes[:1]
    # The correlation of 20000 pairs that are independent is 0.007; 4 of it.
    assert abs((second.direction(codes[:1]) @ move[0])[0]) < 0.03
    gradient = first.direction(codes[:1])[0]
    shortest = gradient / (gradient @ gradient)
    assert abs((second.direction(codes[:1]) @ shortest)[0]) > 0.3


def test_a_goal_out_of_reach_does_not_send_codes_away():
    """A parabola that has no such value: the codes stay within eight standard deviations."""
    codes = Codes(CODES, np.full_like(CODES, 1e-6))
    dome = Attribute.fit_codes(codes, -(CODES[:, 0] ** 2))
    moved = move_codes(CODES[:20], dome, 100.0) - CODES[:20]
    inverse = np.linalg.inv(dome.code_covariance)
    assert np.sqrt(np.einsum("ni,ij,nj->n", moved, inverse, moved)).max() <= 8 + 1e-9


def test_an_attribute_that_is_a_mixture_cannot_change_alone():
    first, second = readings(1, count=2)
    labels = CODES @ (TRUE[0] + TRUE[1])
    both = Attribute.fit_codes(Codes(CODES, np.full_like(CODES, 1e-6)), labels, degree=1)
    with pytest.raises(ValueError, match=r"is a mixture of those to keep.*Received: correlations"):
        move_codes(CODES[:2], both, 1.0, [first, second])


@pytest.mark.parametrize("amount", [[1.0, 2.0], np.nan, np.ones((3, 1))])
def test_amounts_fit_the_examples(amount):
    with pytest.raises(ValueError, match=r"`amount` must be a finite number, or 3 of them"):
        move_codes(CODES[:3], readings(1)[0], amount)


def test_codes_of_another_size_are_refused():
    with pytest.raises(ValueError, match="fitted on codes of 4 numbers"):
        move_codes(np.zeros((2, 3)), readings(1)[0], 1.0)


def test_faces_change_where_they_should(face_vae, small_faces):
    """The wall changes its colour; what else is read of the face does not, and the picture of a
    face that is moved by nothing is its reconstruction."""
    names = ("background", "skin_tone", "head_tilt", "hair_length")
    labels = {name: small_faces.labels[name] for name in names}
    attributes = fit_attributes(face_vae, small_faces.train, labels)
    wall, *others = attributes.values()
    x = small_faces.test[:200]
    still = edit(face_vae, x, wall, 0.0, keep=others, batch_size=64)
    np.testing.assert_allclose(still, face_vae.reconstruct(x), atol=1e-5)
    moved = edit(face_vae, x, wall, 0.25, keep=others)
    before, after = (encode(face_vae, images) for images in (still, moved))
    change = {n: a.read_codes(after).loc - a.read_codes(before).loc for n, a in attributes.items()}
    assert change["background"].mean() == pytest.approx(0.25, abs=0.05)
    for name in names[1:]:
        low, high = attributes[name].label_range
        assert np.abs(change[name]).mean() / (high - low) < 0.05
    # Nothing but the wall is at the upper edge of a picture.
    edge, mouth = np.abs(moved - still)[:, 0], np.abs(moved - still)[:, 11:13, 7:9]
    assert edge.mean() > 3 * mouth.mean()


def test_one_face_is_edited_as_one_of_many(face_vae, small_faces):
    wall = Attribute.fit(face_vae, small_faces.train, small_faces.labels["background"])
    x = small_faces.test[:3]
    many = edit(face_vae, x, wall, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(edit(face_vae, x[2], wall, 0.3), many[2], atol=1e-5)
