from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest

from tfvae.data import ATTRIBUTES, NEUTRAL_FACE, draw_face, faces


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    return faces(800, seed=3)


def test_shapes_types_and_ranges(drawn):
    images, attributes = drawn
    assert images.shape == (800, 32, 32, 3)
    assert images.dtype == np.uint8
    assert list(attributes) == list(ATTRIBUTES)
    for name, values in attributes.items():
        low, high, meaning = ATTRIBUTES[name]
        assert values.shape == (800,)
        assert values.dtype == np.float32
        assert low <= values.min() <= values.max() <= high
        assert meaning


def test_an_example_does_not_depend_on_how_many_are_drawn(drawn):
    images, attributes = drawn
    for num_examples in (1, 7, 65):
        fewer, known = faces(num_examples, seed=3)
        np.testing.assert_array_equal(fewer, images[:num_examples])
        for name, values in known.items():
            np.testing.assert_array_equal(values, attributes[name][:num_examples])


def test_seeds_differ(drawn):
    other, _ = faces(20, seed=4)
    assert not np.any([np.array_equal(a, b) for a in other for b in drawn[0]])


def test_known_bytes():
    # Only exactly rounded operations touch the pixels, so these hold on every machine.
    images, _ = faces(16, seed=0)
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == "0671d6496f93973cddcd83979497069f8683f0b214ab72beb8535363439bf34e"


def test_the_sampled_attributes_have_the_documented_distributions():
    _, attributes = faces(3000, size=16, seed=5)
    root = np.sqrt(3000)
    for name in ("smile", "age", "hair_colour", "head_turn"):
        low, high, _ = ATTRIBUTES[name]
        # A uniform's standard deviation is its width / sqrt(12); four standard errors.
        error = (high - low) / np.sqrt(12) / root
        assert abs(attributes[name].mean() - (low + high) / 2) < 4 * error
    assert set(np.unique(attributes["glasses"])) == {0, 1}
    assert abs(attributes["glasses"].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7) / root
    bearded = attributes["beard"][attributes["beard"] > 0]
    assert abs(bearded.size / 3000 - 0.25) < 4 * np.sqrt(0.25 * 0.75) / root
    assert bearded.min() >= 0.5
    together = np.corrcoef(np.stack(list(attributes.values())))
    np.fill_diagonal(together, 0)
    assert np.abs(together).max() < 5 / root


def test_drawing_by_attributes_gives_the_same_face(drawn):
    images, attributes = drawn
    for i in range(5):
        one = draw_face({name: float(values[i]) for name, values in attributes.items()})
        np.testing.assert_array_equal(one, images[i])


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_every_attribute_shows_and_changes_smoothly(name, size):
    low, high, _ = ATTRIBUTES[name]
    sweep = [draw_face({name: value}, size).astype(float) for value in np.linspace(low, high, 41)]
    steps = [np.abs(b - a).mean() for a, b in itertools.pairwise(sweep)]
    whole = np.abs(sweep[-1] - sweep[0]).mean()
    assert whole > 0.8
    assert max(steps) < 0.25 * whole + 1


def test_the_smile_can_be_read_off_the_mouth(drawn):
    images, attributes = drawn
    mouth = images[:, 19:28, 6:26].astype(np.float64).reshape(800, -1) / 255
    # Turned heads move the mouth, so read it where the head faces us.
    facing = np.abs(attributes["head_turn"]) < 0.4
    mouth, smile = mouth[facing], attributes["smile"][facing].astype(np.float64)
    half = len(mouth) * 2 // 3
    centre = mouth[:half].mean(axis=0)
    x = mouth[:half] - centre
    weights = np.linalg.solve(x.T @ x + 3 * np.eye(x.shape[1]), x.T @ smile[:half])
    rest = smile[half:] - smile[:half].mean() - (mouth[half:] - centre) @ weights
    assert 1 - (rest**2).sum() / ((smile[half:] - smile[half:].mean()) ** 2).sum() > 0.75


def test_a_grin_shows_teeth_and_a_frown_none():
    def white(smile: float) -> int:
        mouth = draw_face({"smile": smile}, 64)[40:58, 18:46]
        return int((mouth.min(axis=-1) > 225).sum())

    assert white(-1) == white(0) == 0
    assert white(1) > 40 > white(0.5) > 0


def test_the_features_follow_the_head():
    def teeth_at(turn: float) -> float:
        mouth = draw_face({"head_turn": turn, "smile": 1.0}, 64)[40:58]
        return float(np.nonzero(mouth.min(axis=-1) > 200)[1].mean())

    places = [teeth_at(turn) for turn in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    assert np.all(np.diff(places) > 3)
    assert places[2] == pytest.approx(31.5, abs=0.1)


def test_age_greys_the_hair():
    def colourfulness(age: float) -> int:
        top = draw_face({"age": age, "hair_colour": 0.7}, 64)[8:14, 26:40].astype(int)
        return int((top.max(axis=-1) - top.min(axis=-1)).mean())

    assert colourfulness(0) > 100
    assert colourfulness(1) < 40


def test_neutral_values_lie_in_their_ranges():
    assert set(NEUTRAL_FACE) == set(ATTRIBUTES)
    for name, value in NEUTRAL_FACE.items():
        assert ATTRIBUTES[name].low <= value <= ATTRIBUTES[name].high


def test_unknown_attribute_is_named():
    with pytest.raises(ValueError, match=r"has the attributes smile, .*Received: 'moustache'"):
        draw_face({"moustache": 1.0})


@pytest.mark.parametrize("value", [1.01, -1.01, float("nan")])
def test_attribute_out_of_range(value):
    with pytest.raises(ValueError, match=r"`smile` must lie in \[-1, 1\]. Received: "):
        draw_face({"smile": value})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_examples": 0}, ValueError, r"`num_examples` must be in .*Received: 0"),
        ({"num_examples": 2.0}, TypeError, r"`num_examples` must be an integer. Received: 2.0"),
        ({"num_examples": 1, "size": 8}, ValueError, r"`size` must be in \[16, 512\].*: 8"),
        ({"num_examples": 1, "seed": -1}, ValueError, r"`seed` must be in .*Received: -1"),
        ({"num_examples": 1, "seed": True}, TypeError, r"`seed` must be an integer.*: True"),
    ],
)
def test_bad_numbers(arguments, error, message):
    with pytest.raises(error, match=message):
        faces(**arguments)
