"""A VAE as a scikit-learn transformer.

This module needs scikit-learn, the extra `sklearn`; the package `tfvae.latent` does not, which is
why it does not hand `Embedding` on. `tfvae.Embedding` loads it when it is first used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfvae.latent.codes import decode_means
from tfvae.latent.seeding import seeded
from tfvae.models.loading import load
from tfvae.models.vae import VAE
from tfvae.saving import save_model

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "tfvae.Embedding is a scikit-learn transformer: install it with `pip install "
        f"'tfvae[sklearn]'`. Received: {error}"
    ) from error

# A matrix product of another number of rows rounds differently. Rows are therefore transformed in
# batches of one size, so that a row's code does not depend, not even in its last bit, on which
# other rows are transformed with it.
_ROWS = 128


class Embedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embeds tables, or flattened images, by a VAE: a nonlinear, probabilistic relative of PCA.

    Columns are standardised, a VAE with dense networks and a normal likelihood is trained on them,
    and a row's embedding is the mean of its posterior.

    Args:
        latent_dim: size of an embedding.
        hidden: units of the encoder's hidden layers, mirrored by the decoder.
        activation: activation of the hidden layers.
        beta: weight of the divergence; above 1 for embeddings nearer to a standard normal.
        epochs: passes over the data.
        batch_size: rows a step.
        learning_rate: of Adam.
        random_state: seed of weights, order and noise: an integer for the same result at every
            `fit`, a `numpy.random.RandomState`, or `None`.
        verbose: as for `keras.Model.fit`.

    Attributes:
        model_: the trained `tfvae.VAE`, of standardised rows.
        mean_: of the columns, `[n_features_in_]`.
        scale_: standard deviation of the columns, 1 where it is zero, `[n_features_in_]`.
        history_: for each epoch `loss`, `nll` and `kl`, in nats a row.
        n_features_in_: number of columns.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> x = np.random.default_rng(0).normal(size=(60, 5))
        >>> embedding = Embedding(latent_dim=2, hidden=(8,), epochs=2, random_state=0)
        >>> embedding.fit(x).transform(x).shape, embedding.inverse_transform(np.zeros((1, 2))).shape
        ((60, 2), (1, 5))
        >>> make_pipeline(embedding, LogisticRegression()).fit(x, x[:, 0] > 0).predict(x).shape
        (60,)
    """

    def __init__(
        self,
        latent_dim: int = 2,
        hidden: Sequence[int] = (128, 64),
        activation: Any = "relu",
        beta: float = 1.0,
        epochs: int = 50,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.activation = activation
        self.beta = beta
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Embedding:
        """Trains the VAE.

        Args:
            X: numbers `[N, n_features]`, at least two rows.
            y: ignored.

        Returns:
            Itself.

        Raises:
            ValueError: if the numbers are not finite, or an argument of the constructor is off.
        """
        del y
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self.mean_ = X.mean(axis=0)
        deviation = X.std(axis=0)
        # A column that is constant up to rounding stays where it is.
        rounding = 10 * np.finfo(np.float64).eps * np.abs(self.mean_)
        self.scale_ = np.where(deviation > rounding, deviation, 1.0)
        rows = self._standardised(X)
        with seeded(int(check_random_state(self.random_state).randint(2**31 - 1))):
            self.model_ = VAE.for_images(
                (X.shape[1],),
                latent_dim=self.latent_dim,
                hidden=tuple(self.hidden),
                activation=self.activation,
                likelihood="normal",
                beta=self.beta,
            )
            self.model_.compile(keras.optimizers.Adam(self.learning_rate))
            history = self.model_.fit(
                rows, epochs=self.epochs, batch_size=self.batch_size, verbose=self.verbose
            )
        self.history_ = history.history
        self._n_features_out = self.latent_dim
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The means of the posteriors of rows.

        Args:
            X: numbers `[N, n_features_in_]`.

        Returns:
            float64 `[N, latent_dim]`.
        """
        check_is_fitted(self)
        rows = self._standardised(validate_data(self, X, dtype=np.float64, reset=False))
        padding = np.zeros((-len(rows) % _ROWS, rows.shape[1]), np.float32)
        codes = self.model_.transform(np.concatenate([rows, padding]), batch_size=_ROWS)
        return codes[: len(rows)].astype(np.float64)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The means of the likelihoods of embeddings, in the units of the data.

        Args:
            X: embeddings `[N, latent_dim]`.

        Returns:
            float64 `[N, n_features_in_]`.

        Raises:
            ValueError: if the embeddings have another size.
        """
        check_is_fitted(self)
        codes = np.asarray(X, np.float64)
        if codes.ndim != 2 or codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"Embeddings must have shape [N, {self._n_features_out}]. "
                f"Received: shape {codes.shape}"
            )
        return decode_means(self.model_, codes) * self.scale_ + self.mean_

    def _standardised(self, X: np.ndarray) -> np.ndarray:
        return ((X - self.mean_) / self.scale_).astype(np.float32)

    # ---- copies -------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            # As the bytes of a model file, which is read back with the checks of `tfvae.load`.
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.keras"
                save_model(state.pop("model_"), path)
                state["model_file"] = path.read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        model_file = state.pop("model_file", None)
        super().__setstate__(state)
        if model_file is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.keras"
                path.write_bytes(model_file)
                self.model_ = load(path)
