"""The scikit-learn transformer."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from tfvae.data import digits
from tfvae.latent.embedding import Embedding

SMALL = {"hidden": (16,), "epochs": 3, "random_state": 0}


pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


@pytest.fixture(scope="module", autouse=True)
def _eager():
    """Dozens of small models are fitted here: compiling each costs more than running it."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def compiled():
    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2))
    return 100 + np.tanh(z @ rng.normal(size=(2, 8))) * rng.gamma(2, size=8)


@pytest.fixture(scope="module")
def fitted(table):
    return Embedding(latent_dim=3, **SMALL).fit(table)


def test_scikit_learns_own_checks():
    estimator = Embedding(latent_dim=1, hidden=(4,), epochs=1, random_state=0)
    results = check_estimator(estimator, on_skip=None)
    others = {r["check_name"]: r["status"] for r in results if r["status"] != "passed"}
    # scikit-learn itself leaves it out unless SCIPY_ARRAY_API is set in the environment.
    assert others == {"check_array_api_input": "skipped"}
    assert len(results) > 40


def test_it_embeds_and_comes_back(fitted, table):
    codes = fitted.transform(table)
    assert codes.shape == (300, 3)
    np.testing.assert_allclose(
        codes,
        fitted.model_.transform(((table - fitted.mean_) / fitted.scale_).astype("f")),
        atol=1e-5,
    )
    back = fitted.inverse_transform(codes)
    assert back.shape == table.shape
    np.testing.assert_allclose(back.mean(axis=0), table.mean(axis=0), atol=0.5 * table.std())
    assert fitted.get_feature_names_out().tolist() == ["embedding0", "embedding1", "embedding2"]
    assert sorted(fitted.history_) == ["kl", "loss", "nll"]


@pytest.mark.usefixtures("compiled")
def test_it_learns_what_a_plane_cannot(table):
    """The table is two numbers bent by tanh: the VAE's two keep more of it than two of PCA."""
    embedding = Embedding(
        hidden=(64,), epochs=40, batch_size=100, learning_rate=1e-2, random_state=0
    )
    pca = PCA(2)
    errors = [
        np.mean(((e.inverse_transform(e.fit_transform(table)) - table) / table.std(axis=0)) ** 2)
        for e in (embedding, pca)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_a_row_does_not_depend_on_its_company(fitted, table):
    whole = fitted.transform(table)
    np.testing.assert_array_equal(fitted.transform(table[7:8])[0], whole[7])
    np.testing.assert_array_equal(fitted.transform(table[::-1])[::-1], whole)


@pytest.mark.usefixtures("compiled")
def test_it_is_a_step_of_a_pipeline():
    split = digits()[0]
    x, y = split.images.reshape(-1, 64)[:600], split.labels[:600]
    embedding = Embedding(latent_dim=1, hidden=(64,), epochs=20, learning_rate=1e-2, random_state=0)
    pipeline = make_pipeline(embedding, LogisticRegression(max_iter=1000))
    pipeline.set_params(embedding__latent_dim=8).fit(x[:500], y[:500])
    # A guess would be right for one in ten.
    assert pipeline.score(x[500:], y[500:]) > 0.7
    assert pipeline[:-1].inverse_transform(np.zeros((1, 8))).shape == (1, 64)


def test_the_seed_decides_and_the_users_generators_do_not_notice(table):
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    first, second, other = (
        clone(Embedding(**SMALL)).set_params(random_state=seed).fit_transform(table)
        for seed in (1, 1, 2)
    )
    assert (random.random(), np.random.random()) == expected
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0.01


def test_a_copy_is_the_model_file(fitted, table):
    state = fitted.__getstate__()
    assert "model_" not in state
    assert state["model_file"][:2] == b"PK"
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(table), fitted.transform(table))
    unfitted = pickle.loads(pickle.dumps(Embedding(latent_dim=5)))
    assert unfitted.get_params()["latent_dim"] == 5


def test_a_constant_column_stays_where_it_is():
    x = np.random.default_rng(0).normal(size=(30, 3))
    x[:, 1] = 1e6 + 1e-12 * x[:, 1]
    made = Embedding(**SMALL).fit(x)
    assert made.scale_[1] == 1.0
    assert np.abs(made.inverse_transform(made.transform(x))[:, 1] - 1e6).max() < 5.0


def test_embeddings_of_another_size_are_refused(fitted):
    with pytest.raises(ValueError, match=r"must have shape \[N, 3\]. Received: shape \(2, 2\)"):
        fitted.inverse_transform(np.zeros((2, 2)))


def test_without_scikit_learn_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import tfvae.latent\n"
        "try:\n    import tfvae.latent.embedding\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'tfvae[sklearn]'" in done.stdout
