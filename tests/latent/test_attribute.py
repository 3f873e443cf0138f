"""Attributes: what is read off, how sure it is, and whether that is right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfvae.latent import Attribute, fit_attributes
from tfvae.latent.codes import Codes, encode

DIRECTION, OFFSET, NOISE = np.array([0.9, -0.6]), 0.4, 0.2


def labelled(truth, count, seed):
    """Images of codes z with the label DIRECTION'z + OFFSET + noise."""
    z, x = truth.data(count, seed)
    noise = NOISE * np.random.default_rng(seed + 1000).normal(size=count)
    return x, z @ DIRECTION + OFFSET + noise


@pytest.fixture(scope="module")
def attribute(exact_vae, truth):
    return Attribute.fit(exact_vae, *labelled(truth, 4000, seed=1), degree=1)


@pytest.fixture(scope="module")
def face_attributes(face_vae, small_faces):
    return fit_attributes(face_vae, small_faces.train, small_faces.labels)


# ---- against the truth ------------------------------------------------------------------------


def test_the_direction_is_found(attribute, truth):
    codes = np.random.default_rng(0).normal(size=(3, 2))
    gradient = attribute.direction(codes)
    # Standard error of a weight: sqrt(noise / N) / deviation of the code = 0.006; 4 of it.
    np.testing.assert_allclose(gradient, np.broadcast_to(DIRECTION, (3, 2)), atol=0.025)
    np.testing.assert_allclose(attribute.score(codes), codes @ DIRECTION + OFFSET, atol=0.08)


def test_the_noise_is_the_labels_own(attribute, truth):
    """The regression sees the noise of labels and that of codes; a reading must not add both."""
    vagueness = DIRECTION @ truth.covariance @ DIRECTION
    seen = attribute.posterior.noise_variance + vagueness
    # The relative error of a variance of 4000 is 0.022; 4 of it.
    assert seen == pytest.approx(NOISE**2 + vagueness, rel=0.09)
    assert vagueness > NOISE**2


def test_intervals_cover(attribute, exact_vae, truth):
    x, labels = labelled(truth, 4000, seed=2)
    reading = attribute.read(exact_vae, x)
    for level in (0.5, 0.9):
        low, high = reading.interval(level)
        inside = np.mean((low < labels) & (labels < high))
        # Four standard errors of a share of 4000.
        assert inside == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 4000))


def test_few_labels_say_so_and_intervals_still_cover(exact_vae, truth):
    """With 15 labels most of the doubt may be the direction's; coverage counts it."""
    x, labels = labelled(truth, 3000, seed=3)
    codes = encode(exact_vae, x)
    held_out, held_out_labels = Codes(*(part[:200] for part in codes)), labels[:200]
    inside, doubt = [], []
    for start in range(200, 3000, 15):
        part = slice(start, start + 15)
        few = Codes(codes.mean[part], codes.covariance[part])
        reading = Attribute.fit_codes(few, labels[part], degree=1).read_codes(held_out)
        low, high = reading.interval(0.9)
        inside.append(np.mean((low < held_out_labels) & (held_out_labels < high)))
        doubt.append(np.mean(reading.direction_variance / reading.scale**2))
    # The noise of highest evidence is a point, from 12 degrees of freedom: 90 % become 87 %.
    assert 0.84 < np.mean(inside) < 0.92
    assert np.mean(doubt) > 0.1


def test_the_variance_is_that_of_the_whole_belief(attribute, exact_vae, truth):
    """Against draws of the code, the weights and the noise."""
    _, x = truth.data(3, seed=4)
    few = Attribute.fit(exact_vae, *labelled(truth, 12, seed=5), degree=2)
    for made in (attribute, few):
        reading, codes = made.read(exact_vae, x), encode(exact_vae, x)
        rng = np.random.default_rng(0)
        w = rng.multivariate_normal(made.posterior.weights, made.posterior.covariance, 20_000)
        for i in range(3):
            z = codes.mean[i] + 0.3 * rng.multivariate_normal([0, 0], codes.covariance[i], 20_000)
            values = np.sum(made.features.expand(z) * w, axis=1)
            expected = 0.09 * reading.image_variance[i] + reading.direction_variance[i]
            # The relative error of a variance of 20000 draws is 0.01; the rest is second order.
            assert values.var() == pytest.approx(expected, rel=0.25)
            assert values.mean() == pytest.approx(reading.loc[i], abs=0.2 * np.sqrt(expected))


def test_a_binary_attribute_gives_probabilities(exact_vae, truth):
    z, x = truth.data(6000, seed=6)
    odds = 2 * z @ DIRECTION - 0.5
    labels = np.random.default_rng(7).random(6000) < 1 / (1 + np.exp(-odds))
    found = Attribute.fit(exact_vae, x[:3000], labels[:3000])
    assert found.binary
    assert found.label_range == (0.0, 1.0)
    reading = found.read(exact_vae, x[3000:])
    # Reliability: where it says p, a share p is yes. 600 examples a bin: standard error 0.02.
    for part in np.array_split(np.argsort(reading.mean), 5):
        assert reading.mean[part].mean() == pytest.approx(labels[3000:][part].mean(), abs=0.06)
    low, high = reading.interval(0.9)
    assert ((low < reading.mean) & (reading.mean < high)).mean() > 0.95
    assert (reading.noise_variance == 0).all()


def test_a_reading_that_bends(exact_vae, truth):
    z, x = truth.data(4000, seed=8)
    labels = z[:, 0] + 0.5 * z[:, 0] * z[:, 1]
    straight = Attribute.fit(exact_vae, x[:2000], labels[:2000], degree=1)
    bent = Attribute.fit(exact_vae, x[:2000], labels[:2000])
    assert bent.features.degree == 2
    errors = [a.read(exact_vae, x[2000:]).loc - labels[2000:] for a in (straight, bent)]
    assert np.std(errors[1]) < 0.8 * np.std(errors[0])
    at = np.array([[0.3, -0.7]])
    step = 1e-5 * np.eye(2)
    numeric = [(bent.score(at + s) - bent.score(at - s))[0] / 2e-5 for s in step]
    np.testing.assert_allclose(bent.direction(at)[0], numeric, rtol=1e-5)


# ---- on faces ---------------------------------------------------------------------------------


def test_faces_are_read_and_the_intervals_cover(face_vae, face_attributes, small_faces):
    """Of the attributes that so small a model can see; 1000 held-out faces."""
    for name, correlation in {"background": 0.98, "head_tilt": 0.93, "skin_tone": 0.93}.items():
        labels = small_faces.test_labels[name]
        reading = face_attributes[name].read(face_vae, small_faces.test)
        low, high = reading.interval(0.9)
        assert np.corrcoef(reading.mean, labels)[0, 1] > correlation
        assert 0.85 < np.mean((low < labels) & (labels < high)) < 0.95


def test_glasses_are_a_yes_or_no(face_vae, face_attributes, small_faces):
    glasses = face_attributes["glasses"]
    worn = small_faces.test_labels["glasses"] > 0.5
    probability = glasses.read(face_vae, small_faces.test).mean
    assert glasses.binary
    assert np.mean((probability > 0.5) == worn) > 0.93
    assert probability.mean() == pytest.approx(worn.mean(), abs=0.03)


def test_an_autoencoders_codes_are_read_as_certain(face_autoencoder, small_faces):
    found = Attribute.fit(face_autoencoder, small_faces.train, small_faces.labels["background"])
    reading = found.read(face_autoencoder, small_faces.test)
    assert np.corrcoef(reading.mean, small_faces.test_labels["background"])[0, 1] > 0.9
    assert (reading.image_variance == 0).all()


def test_several_attributes_are_those_one_by_one(face_vae, face_attributes, small_faces):
    alone = Attribute.fit(face_vae, small_faces.train, small_faces.labels["age"])
    np.testing.assert_allclose(
        alone.read(face_vae, small_faces.test[:5]).loc,
        face_attributes["age"].read(face_vae, small_faces.test[:5]).loc,
        rtol=1e-6,
    )


# ---- shapes, configuration, errors -------------------------------------------------------------


def test_one_image_is_one_reading(attribute, exact_vae, truth):
    _, x = truth.data(2, seed=0)
    one, both = attribute.read(exact_vae, x[1]), attribute.read(exact_vae, x)
    assert np.shape(one.mean) == ()
    assert one.mean == pytest.approx(both.mean[1])
    assert one.interval()[1] == pytest.approx(both.interval()[1][1])


@pytest.mark.parametrize("degree", [1, 2])
def test_a_configuration_is_json_and_comes_back(exact_vae, truth, degree):
    made = Attribute.fit(exact_vae, *labelled(truth, 50, seed=9), degree=degree)
    again = Attribute.from_config(json.loads(json.dumps(made.get_config())))
    _, x = truth.data(4, seed=0)
    for name in ("loc", "scale"):
        np.testing.assert_array_equal(
            getattr(again.read(exact_vae, x), name), getattr(made.read(exact_vae, x), name)
        )
    assert again.label_range == made.label_range
    assert again.binary is made.binary
    np.testing.assert_array_equal(again.code_covariance, made.code_covariance)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": [1.0]},
        {"covariance": [[1.0]]},
        {"noise_variance": float("nan")},
        {"label_range": [0.0, 1.0, 2.0]},
        {"degree": 3},
        {"code_mean": "a"},
        {"code_scale": None},
    ],
)
def test_a_damaged_configuration_is_refused(attribute, change):
    with pytest.raises(ValueError, match="Received"):
        Attribute.from_config(attribute.get_config() | change)


def test_a_configuration_without_a_part_is_refused(attribute):
    config = attribute.get_config()
    del config["covariance"]
    with pytest.raises(ValueError, match=r"Received: KeyError: 'covariance'"):
        Attribute.from_config(config)


BAD_LABELS = {
    "a missing one": (np.zeros(4), "one for each of the 5 images"),
    "words": (np.array(list("abcde")), "must be numbers or booleans"),
    "NaN": (np.array([0, 1, 2, 3, np.nan]), "must be finite"),
    "all the same": (np.ones(5), "not all the same"),
}


@pytest.mark.parametrize("bad", BAD_LABELS)
def test_bad_labels_are_refused(exact_vae, truth, bad):
    labels, message = BAD_LABELS[bad]
    with pytest.raises(ValueError, match=f"{message}.*\n?.*Received"):
        Attribute.fit(exact_vae, truth.data(5, seed=0)[1], labels)


def test_bad_choices_are_refused(exact_vae, truth):
    x, labels = labelled(truth, 5, seed=0)
    with pytest.raises(ValueError, match=r"zeros and ones, both of them. Received"):
        Attribute.fit(exact_vae, x, labels, kind="binary")
    with pytest.raises(ValueError, match="`kind` must be one of"):
        Attribute.fit(exact_vae, x, labels, kind="ordinal")
    with pytest.raises(ValueError, match=r"`degree` must be 1, 2 or None. Received: 3"):
        Attribute.fit(exact_vae, x, labels, degree=3)
    with pytest.raises(ValueError, match=r"must differ.*Received: 5 times the same code"):
        Attribute.fit(exact_vae, np.ones((5, 6), "f"), labels)


def test_another_models_codes_are_refused(attribute):
    with pytest.raises(ValueError, match=r"fitted on codes of 2 numbers.*Received: 3"):
        attribute.read_codes(Codes(np.zeros((1, 3)), np.ones((1, 3))))


def test_zeros_and_ones_may_be_numbers(exact_vae, truth):
    x, labels = labelled(truth, 50, seed=0)
    found = Attribute.fit(exact_vae, x, labels > 0, kind="continuous", degree=1)
    assert not found.binary
    assert found.posterior.noise_variance > 0
