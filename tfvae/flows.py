"""Networks for normalizing flows, as Keras layers, so that a model sees and saves their weights.

TFP's bijectors do the rest: `tfp.bijectors.MaskedAutoregressiveFlow(AutoregressiveNetwork(2))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.distributions import float_dtype

ORDERS = ("left-to-right", "right-to-left", "random")
DEGREES = ("equal", "random")
CONDITIONED_LAYERS = ("all_layers", "first_layer")
# The largest logarithm of a scale: neither a density nor a draw can overflow in a few layers.
LOG_SCALE_BOUND = 3.0
# Of a network's last kernel, so that a flow starts near the identity. Zero would keep the layers
# before the last from learning at the first step.
FIRST_SCALE = 0.01


@keras.saving.register_keras_serializable(package="tfvae")
class AutoregressiveNetwork(keras.layers.Layer):
    """MADE: a dense network whose output for an element depends on the elements before it only.

    Maps `[..., event_size]` to `[..., event_size, params]`. With `params=2` the output is the shift
    and the logarithm of the scale of a masked autoregressive flow. Each kernel is multiplied by its
    mask at every call, so that it is autoregressive whatever its weights are. The arguments are
    those of `tfp.bijectors.AutoregressiveNetwork`, and `seed`: TFP draws other random masks when it
    loads a network.

    Args:
        params: number of outputs for each element.
        event_shape: the event size, as an integer or a sequence of one; that of the first input if
            `None`.
        conditional: whether the network takes a second input, `conditional_input`.
        conditional_event_shape: size of the second input, as an integer or a sequence of one.
        conditional_input_layers: where the second input enters: `"all_layers"` or `"first_layer"`.
        hidden_units: sizes of the hidden layers; none if `None`.
        input_order: which elements come before which: `"left-to-right"`, `"right-to-left"`,
            `"random"`, or a permutation of 1 to `event_size`, the place of each element.
        hidden_degrees: how many elements a hidden unit sees: `"equal"` shares, or `"random"`.
        activation: activation of the hidden layers.
        use_bias: whether the layers have biases.
        kernel_initializer: initialiser of the kernels.
        bias_initializer: initialiser of the biases.
        kernel_regularizer: regulariser of the kernels.
        bias_regularizer: regulariser of the biases.
        kernel_constraint: constraint of the kernels.
        bias_constraint: constraint of the biases.
        validate_args: whether the numbers that go in are checked to be finite.
        seed: fixes random orders and degrees; drawn if `None`, and saved with the layer.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: for an event that is not a vector, a conditional network without the size of its
            input or the reverse, or a name that is not among those above.

    Example:
        >>> made = AutoregressiveNetwork(2, event_shape=3, hidden_units=[8], activation="relu")
        >>> with tf.GradientTape() as tape:
        ...     x = tf.Variable([[0.1, 0.2, 0.3]])
        ...     y = made(x)
        >>> y.shape.as_list(), made.order.tolist()
        ([1, 3, 2], [1, 2, 3])
        >>> bool(tf.reduce_any(tf.linalg.band_part(tape.jacobian(y, x)[0, :, 0, 0, :], 0, -1) != 0))
        False

    Reference:
        Germain, Gregor, Murray and Larochelle (2015), MADE: Masked Autoencoder for Distribution
        Estimation, arXiv:1502.03509, equations 8 to 14; Papamakarios, Pavlakou and Murray (2017),
        Masked Autoregressive Flow for Density Estimation, arXiv:1705.07057.
    """

    def __init__(
        self,
        params: int,
        event_shape: Any = None,
        conditional: bool = False,
        conditional_event_shape: Any = None,
        conditional_input_layers: str = "all_layers",
        hidden_units: Sequence[int] | None = None,
        input_order: str | Sequence[int] = "left-to-right",
        hidden_degrees: str = "equal",
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype=float_dtype(kwargs.pop("dtype", None)), **kwargs)
        # Called by a bijector, from inside its loop: an input without a batch is one example.
        self._allow_non_tensor_positional_args = True
        if not isinstance(params, (int, np.integer)) or params < 1:
            raise ValueError(f"`params` must be an integer of at least 1. Received: {params!r}")
        if conditional != (conditional_event_shape is not None) or (
            conditional and event_shape is None
        ):
            raise ValueError(
                "A conditional network needs `event_shape` and `conditional_event_shape`, another "
                f"takes no `conditional_event_shape`. Received: conditional={conditional!r}, "
                f"event_shape={event_shape!r}, conditional_event_shape={conditional_event_shape!r}"
            )
        for name, value, choices in (
            ("conditional_input_layers", conditional_input_layers, CONDITIONED_LAYERS),
            ("hidden_degrees", hidden_degrees, DEGREES),
            ("input_order", input_order, ORDERS if isinstance(input_order, str) else None),
        ):
            if choices is not None and value not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}")
        self.params = int(params)
        self.event_size = _vector_size(event_shape, "event_shape")
        self.conditional = conditional
        self.conditional_size = _vector_size(conditional_event_shape, "conditional_event_shape")
        self.conditional_input_layers = conditional_input_layers
        self.hidden_units = [] if hidden_units is None else [int(n) for n in hidden_units]
        self.input_order = input_order if isinstance(input_order, str) else list(input_order)
        self.hidden_degrees = hidden_degrees
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_options = {
            "initializer": keras.initializers.get(kernel_initializer),
            "regularizer": keras.regularizers.get(kernel_regularizer),
            "constraint": keras.constraints.get(kernel_constraint),
        }
        self.bias_options = {
            "initializer": keras.initializers.get(bias_initializer),
            "regularizer": keras.regularizers.get(bias_regularizer),
            "constraint": keras.constraints.get(bias_constraint),
        }
        self.validate_args = validate_args
        self.seed = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)

    @property
    def event_shape(self) -> list[int] | None:
        """The shape of an event, once it is known."""
        return None if self.event_size is None else [self.event_size]

    def build(self, input_shape: Any) -> None:
        # Keras hands over a shape for each of two inputs, in a dictionary or a tuple of tuples.
        size = input_shape[-1]
        if self.event_size is None:
            self.event_size = int(size)
        if size != self.event_size:
            raise ValueError(
                f"The network was made for events of size {self.event_size}. "
                f"Received: input of shape {tuple(input_shape)}"
            )
        degrees = self._degrees(size)
        self.order = degrees[0]
        masks = [below[:, None] <= above for below, above in pairwise(degrees)]
        masks.append(np.repeat(degrees[-1][:, None] < self.order, self.params, axis=1))
        self.masks = [mask.astype(self.variable_dtype) for mask in masks]
        self.kernels, self.biases, self.conditional_kernels = [], [], []
        for layer, mask in enumerate(self.masks):
            self.kernels.append(self._add_kernel(mask.shape, f"kernel_{layer}", mask))
            if self.use_bias:
                bias = self.add_weight(
                    shape=mask.shape[1:], name=f"bias_{layer}", **self.bias_options
                )
                self.biases.append(bias)
            if self.conditional and (layer == 0 or self.conditional_input_layers == "all_layers"):
                shape = (self.conditional_size, mask.shape[1])
                self.conditional_kernels.append(
                    self._add_kernel(shape, f"conditional_kernel_{layer}", 1.0)
                )
        self.built = True

    def _add_kernel(self, shape: Any, name: str, mask: Any) -> keras.Variable:
        # A clone, because an initialiser without a seed repeats itself.
        initializer = self.kernel_options["initializer"].clone()
        masked = {"initializer": lambda shape, dtype: initializer(shape, dtype) * mask}
        return self.add_weight(shape=shape, name=name, **{**self.kernel_options, **masked})

    def _degrees(self, size: int) -> list[np.ndarray]:
        """The degrees of inputs and of each hidden layer: a unit sees inputs up to its own."""
        rng = np.random.default_rng(self.seed)
        order = np.arange(1, size + 1)
        if self.input_order == "right-to-left":
            order = order[::-1]
        elif self.input_order == "random":
            order = rng.permutation(order)
        elif not isinstance(self.input_order, str):
            if sorted(self.input_order) != order.tolist():
                raise ValueError(
                    f"`input_order` must be a permutation of 1 to {size}. "
                    f"Received: {self.input_order!r}"
                )
            order = np.array(self.input_order)
        degrees = [order]
        for units in self.hidden_units:
            least = min(int(degrees[-1].min()), size - 1)
            if self.hidden_degrees == "random":
                degrees.append(rng.integers(least, size, units))
            else:
                shares = np.ceil(np.arange(1, units + 1) * (size - 1) / (units + 1))
                degrees.append(np.maximum(least, shares.astype(int)))
        return degrees

    def call(self, x: Any, conditional_input: Any = None) -> tf.Tensor:
        if self.conditional != (conditional_input is not None):
            raise ValueError(
                "A conditional network, and no other, takes `conditional_input`. "
                f"Received: conditional_input={conditional_input!r}"
            )
        x = tf.convert_to_tensor(x, self.compute_dtype)
        if self.validate_args:
            x = tf.debugging.check_numerics(x, "The input of AutoregressiveNetwork is not finite.")
        for layer, (kernel, mask) in enumerate(zip(self.kernels, self.masks, strict=True)):
            x = _apply(x, kernel * mask)
            if self.use_bias:
                x += self.biases[layer]
            if layer < len(self.conditional_kernels):
                x += _apply(conditional_input, self.conditional_kernels[layer])
            if layer + 1 < len(self.kernels):
                x = self.activation(x)
        shape = tf.concat([tf.shape(x)[:-1], [self.event_size, self.params]], axis=0)
        return tf.reshape(x, shape)

    def compute_output_shape(self, input_shape: Any, **kwargs: Any) -> tuple[int | None, ...]:
        return (*input_shape, self.params)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "params": self.params,
            "event_shape": self.event_size,
            "conditional": self.conditional,
            "conditional_event_shape": self.conditional_size,
            "conditional_input_layers": self.conditional_input_layers,
            "hidden_units": self.hidden_units,
            "input_order": self.input_order,
            "hidden_degrees": self.hidden_degrees,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **_weight_config("kernel", self.kernel_options),
            **_weight_config("bias", self.bias_options),
            "validate_args": self.validate_args,
            "seed": self.seed,
        }


def bounded_log_scale(raw: Any) -> tf.Tensor:
    """Returns `3 tanh(raw / 3)`: a logarithm of a scale that no network can make too large.

    Args:
        raw: a float tensor of any shape.

    Returns:
        A tensor of the same shape and dtype, between -3 and 3.

    Example:
        >>> bounded_log_scale([-1e30, 0.0, 1e30]).numpy().tolist()
        [-3.0, 0.0, 3.0]
    """
    return LOG_SCALE_BOUND * tf.tanh(tf.convert_to_tensor(raw) / LOG_SCALE_BOUND)


def _apply(x: Any, kernel: tf.Tensor) -> tf.Tensor:
    """`x @ kernel` for an `x` of any rank from 1."""
    return tf.tensordot(x, tf.convert_to_tensor(kernel), axes=[[-1], [0]])


def _vector_size(shape: Any, name: str) -> int | None:
    if shape is None:
        return None
    dims = np.ravel(shape).tolist()
    if len(dims) != 1 or not isinstance(dims[0], int) or dims[0] < 1:
        raise ValueError(
            f"`{name}` must be the size of a vector, at least 1, or a sequence of one size. "
            f"Received: {shape!r}"
        )
    return dims[0]


def _weight_config(weight: str, options: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{weight}_initializer": keras.initializers.serialize(options["initializer"]),
        f"{weight}_regularizer": keras.regularizers.serialize(options["regularizer"]),
        f"{weight}_constraint": keras.constraints.serialize(options["constraint"]),
    }
