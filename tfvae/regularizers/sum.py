"""Several regularisers as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.distribution_layer import deserialize_callable, serialize_callable
from tfvae.layers.latent_regularizer import LatentRegularizer


@keras.saving.register_keras_serializable(package="tfvae")
class Sum(LatentRegularizer):
    """The sum of several costs of the latent; each brings its own weight.

    What the parts measure is logged under their own names; a name that is taken gets a number.

    Args:
        regularizers: layers of `tfvae.regularizers`, at least one. The prior of the first that has
            one is that of the sum, so that a VAE takes it for its own; give the same to the others.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if one of them is not a regulariser.
        ValueError: if there are none, or if two have different priors that are trained.

    Example:
        >>> from tfvae import priors, regularizers
        >>> prior = priors.StandardNormal(2)
        >>> cost = Sum([regularizers.KLDivergenceRegularizer(prior), regularizers.DIP()])
        >>> cost.term_names
        ('kl', 'dip_off_diagonal', 'dip_diagonal')
    """

    def __init__(self, regularizers: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        parts = list(regularizers)
        if not parts:
            raise ValueError("`regularizers` must have at least one. Received: none")
        for part in parts:
            if not isinstance(part, LatentRegularizer):
                raise TypeError(
                    f"`regularizers` must be layers of `tfvae.regularizers`. Received: {part!r}"
                )
        self.regularizers = parts
        priors = [part.prior for part in parts if getattr(part, "prior", None) is not None]
        self.prior = priors[0] if priors else None
        others = [prior for prior in priors if prior is not self.prior]
        if any(getattr(prior, "trainable_weights", ()) for prior in others):
            raise ValueError(
                "The regularisers of a sum must share a prior that is trained: give the same "
                f"object to each. Received: {[self.prior, *others]!r}"
            )
        self._public_names = _without_doubles([part.term_names for part in parts])
        self.term_names = tuple(name for names in self._public_names for name in names)

    def build(self, input_shape: Any = None) -> None:
        for part in self.regularizers:
            part.build(input_shape)
        self.built = True

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        found: dict[str, tf.Tensor] = {}
        for part, names in zip(self.regularizers, self._public_names, strict=True):
            terms = part.terms(q)
            found |= {name: terms[own] for name, own in zip(names, part.term_names, strict=True)}
        return found

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.add_n(
            [
                part.combine(
                    {own: terms[name] for name, own in zip(names, part.term_names, strict=True)}
                )
                for part, names in zip(self.regularizers, self._public_names, strict=True)
            ]
        )

    def get_config(self) -> dict[str, Any]:
        """The configuration, in which the prior that parts share stands once."""
        parts = [keras.saving.serialize_keras_object(part) for part in self.regularizers]
        for part, config in zip(self.regularizers, parts, strict=True):
            if self.prior is not None and getattr(part, "prior", None) is self.prior:
                config["config"]["prior"] = None
        prior = None if self.prior is None else serialize_callable(self.prior, "prior")
        return {**super().get_config(), "regularizers": parts, "prior": prior}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sum:
        config = dict(config)
        prior = deserialize_callable(config.pop("prior"))
        parts = []
        for part in config.pop("regularizers"):
            arguments = part["config"]
            if "prior" in arguments and arguments["prior"] is None:
                part = {**part, "config": {**arguments, "prior": prior}}
            parts.append(keras.saving.deserialize_keras_object(part))
        return cls(parts, **config)


def _without_doubles(groups: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The names of each group, those that an earlier group has with a number behind them."""
    taken: set[str] = set()
    renamed = []
    for names in groups:
        new = []
        for name in names:
            count = 2
            candidate = name
            while candidate in taken:
                candidate, count = f"{name}_{count}", count + 1
            taken.add(candidate)
            new.append(candidate)
        renamed.append(tuple(new))
    return renamed
