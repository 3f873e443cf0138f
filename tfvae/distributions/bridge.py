"""How a Keras 3 layer emits a real `tfp.distributions` object.

Keras wants tensors to pass between layers, a user wants the distribution. So the object that a
layer returns is both: an instance of a subclass, made on the fly, of the distribution's own class
(`isinstance(q, tfd.MultivariateNormalDiag)` holds and registered divergences dispatch), which also
carries one concrete value, drawn once, and answers as that value wherever a tensor is asked for:

* `is_tensor_like`, `shape`, `ndim` and `dtype` make `tf.is_tensor` true, so that Keras makes one
  `KerasTensor` of it and hands it to a loss unchanged;
* a registered conversion, `__array__` and `numpy` give stock layers, `keras.ops` and `predict` the
  value;
* a `TypeSpec` whose only component is the value turns it into that value at the border of a
  `tf.function`, so that `predict`, `export` and `strategy.run` see tensors.

It is deliberately not registered as a pytree node: losses, `predict`, `export` and saving break on
that. `is_tensor_like` is not part of TensorFlow's documented surface; the first test in
`tests/distributions/test_bridge.py` fails first if a release drops it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

# `__eq__`, `__ne__` and `__getitem__` stay the distribution's own: it is hashable by identity and
# slices its batch.
_OPERATORS = sorted(
    set(tf.Tensor.OVERLOADABLE_OPERATORS)
    - {"__eq__", "__ne__", "__getitem__"}
    - {"__div__", "__rdiv__"}
)


class _ValueSpec(tf.TypeSpec):
    """The type of a tensor-like distribution at a function's border: that of its value."""

    def __init__(self, shape: tf.TensorShape, dtype: tf.DType) -> None:
        self._shape = tf.TensorShape(shape)
        self._dtype = dtype

    @property
    def value_type(self) -> type:
        return tf.Tensor

    @property
    def shape(self) -> tf.TensorShape:
        return self._shape

    @property
    def dtype(self) -> tf.DType:
        return self._dtype

    def _serialize(self) -> tuple[Any, ...]:
        return self._shape, self._dtype

    @property
    def _component_specs(self) -> tf.TensorSpec:
        return tf.TensorSpec(self._shape, self._dtype)

    def _to_components(self, distribution: Any) -> tf.Tensor:
        return tf.convert_to_tensor(distribution)

    def _from_components(self, value: tf.Tensor) -> tf.Tensor:
        return value


class _TensorLike:
    """What a distribution gains when it passes between Keras layers."""

    is_tensor_like = True

    _tfvae_plain: tfd.Distribution
    _tfvae_value: tf.Tensor
    _tfvae_is_draw: bool

    @property
    def tensor_distribution(self) -> tfd.Distribution:
        """The plain distribution, without a value, as code written for TFP expects it."""
        return self._tfvae_plain

    @property
    def shape(self) -> tf.TensorShape:
        """Shape of the value: `[S, B, event]`, or `[B, event]` for one draw."""
        return self._tfvae_value.shape

    @property
    def ndim(self) -> int:
        return self._tfvae_value.shape.rank

    @property
    def dtype(self) -> tf.DType:
        return self._tfvae_value.dtype

    def get_shape(self) -> tf.TensorShape:
        return self.shape

    def numpy(self) -> np.ndarray:
        return self._tfvae_value.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._tfvae_value, dtype=dtype)

    def __len__(self) -> int:
        return len(self._tfvae_value)

    def __getitem__(self, slices: Any) -> tfd.Distribution:
        return self._tfvae_plain[slices]

    def copy(self, **override_parameters: Any) -> tfd.Distribution:
        return self._tfvae_plain.copy(**override_parameters)


def _forward_operator(name: str) -> Any:
    def operator(self: Any, *args: Any) -> Any:
        return getattr(self._tfvae_value, name)(*args)

    operator.__name__ = name
    return operator


for _name in _OPERATORS:
    setattr(_TensorLike, _name, _forward_operator(_name))


def _value_of(
    distribution: Any, dtype: tf.DType | None = None, name: str | None = None, as_ref: bool = False
) -> Any:
    del name, as_ref
    value = distribution._tfvae_value
    if dtype is not None and not tf.as_dtype(dtype).is_compatible_with(value.dtype):
        # Declining would send TensorFlow on to `__array__`, and the gradient would be lost.
        raise ValueError(
            "A distribution's value has one dtype: convert it with `tf.cast`. "
            f"Received: dtype {tf.as_dtype(dtype).name} for a value of dtype {value.dtype.name}"
        )
    return value


tf.register_tensor_conversion_function(_TensorLike, _value_of)


@cache
def _tensor_like_class(cls: type) -> type:
    made = type(
        cls.__name__, (_TensorLike, cls), {"__doc__": cls.__doc__, "__module__": cls.__module__}
    )
    # Set afterwards: TFP's metaclass writes its own `_type_spec` over one in the class body.
    made._type_spec = property(  # type: ignore[attr-defined]
        lambda self: _ValueSpec(self.shape, self.dtype)
    )
    return made


def as_tensor_like(
    distribution: tfd.Distribution, value: Any, *, is_draw: bool
) -> tfd.Distribution:
    """Gives `distribution` a concrete value, so that it passes between Keras layers as a tensor.

    Args:
        distribution: any TFP distribution; it is left untouched.
        value: a tensor computed from it, such as a draw `[S, B, event]` or a mean `[B, event]`.
        is_draw: whether `value` was sampled from `distribution`, so that a Monte Carlo estimate
            may reuse it.

    Returns:
        A distribution with the same parameters that is an instance of the same class, and of
        which `tf.convert_to_tensor` gives `value`.

    Raises:
        TypeError: if `distribution` is not a `tfp.distributions.Distribution`.

    Example:
        >>> q = as_tensor_like(tfd.Normal([0.0], [1.0]), tf.constant([2.0]), is_draw=False)
        >>> isinstance(q, tfd.Normal), float(q.mean()[0]), float(tf.square(q)[0])
        (True, 0.0, 4.0)
    """
    if not isinstance(distribution, tfd.Distribution):
        raise TypeError(
            "A distribution layer must make a `tfp.distributions.Distribution`. "
            f"Received: {distribution!r} (of type {type(distribution).__name__})"
        )
    distribution = plain(distribution)
    # `copy.copy` would call `__new__` without the arguments that some TFP classes need there.
    cls: Any = type(distribution)
    made: Any = object.__new__(_tensor_like_class(cls))
    vars(made).update(
        vars(distribution),
        _tfvae_plain=distribution,
        _tfvae_value=tf.convert_to_tensor(value),
        _tfvae_is_draw=is_draw,
    )
    return made


def plain(distribution: tfd.Distribution) -> tfd.Distribution:
    """Returns the distribution without its value; a plain one is returned as it is."""
    return distribution._tfvae_plain if isinstance(distribution, _TensorLike) else distribution


def value_is_draw(distribution: Any) -> bool:
    """Whether the distribution carries a value that was sampled from it."""
    return isinstance(distribution, _TensorLike) and distribution._tfvae_is_draw
