"""Signatures as TensorFlow graphs that hold what their outputs need, and no state.

Distribution layers draw a value whenever they are called and count the draws; an export asks for
their parameters alone. So a signature is traced without side effects (`keras.StatelessScope`), and
what its outputs do not need, the draws and their counters, is cut away. Noise that an output *does*
need would repeat itself at every load of the file: it is refused, and the layer named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfvae.export.signatures import Signature

_STATEFUL_RANDOM = ("Random", "StatefulRandom", "StatefulStandard", "TruncatedNormal", "Multinom")


@dataclass(frozen=True)
class Traced:
    """A signature as a graph.

    Attributes:
        signature: what was traced.
        batch: its number of rows, `None` for any.
        function: the concrete function, with named inputs and a dictionary of outputs.
        variables: the weights that it reads.
    """

    signature: Signature
    batch: int | None
    function: Any
    variables: tuple[tf.Variable, ...]


@contextmanager
def in_float32(model: keras.Model) -> Iterator[None]:
    """Computes in float32 inside the block, whatever precision the model was trained in.

    Args:
        model: the model; its policies are as before after the block.

    Raises:
        TypeError: if the model has float64 weights, which would lose their precision.
    """
    for variable in model.variables:
        if variable.dtype == "float64":
            raise TypeError(
                "An export computes in float32, and the model has float64 weights: train it with "
                f"`keras.config.set_floatx('float32')`. Received: {variable.path}"
            )
    layers = [layer for layer in model._flatten_layers() if layer.compute_dtype != "float32"]
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = "float32"
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy


def trace(model: keras.Model, signature: Signature, batch: int | None) -> Traced:
    """Traces a signature, to be called inside `in_float32(model)`.

    Args:
        model: the model that the signature is of.
        signature: what to trace.
        batch: the number of rows, or `None` for a graph that takes any.

    Returns:
        The graph.

    Raises:
        NotImplementedError: if the model's distributions do not allow this signature.
        ValueError: if an output depends on noise that no seed among the inputs decides.
    """
    specs = {spec.name: spec for spec in (given.spec(batch) for given in signature.inputs)}
    scope = keras.StatelessScope()

    def stateless(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        with scope:
            return signature.function(**inputs)

    whole = tf.function(stateless, autograph=False).get_concrete_function(**specs)
    outputs = whole.structured_outputs
    needed = _needed_operations([tensor.op for tensor in outputs.values()])
    captures = {
        inner.op.name: outer for outer, inner in whole.graph.captures if inner.op.name in needed
    }
    variables = tuple(
        variable
        for variable in whole.graph.variables
        if any(variable.handle is outer for outer in captures.values())
    )
    _refuse_noise(model, signature, scope, whole.graph, needed)
    graph = _graph_of(whole.graph, needed)

    def pure(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        capture = tf.compat.v1.get_default_graph().capture
        values = tf.graph_util.import_graph_def(
            graph,
            input_map={
                **{name: value for name, value in inputs.items() if name in needed},
                **{name: capture(value) for name, value in captures.items()},
            },
            return_elements=[tensor.name for tensor in outputs.values()],
            name=signature.name,
        )
        return dict(zip(outputs, values, strict=True))

    function = tf.function(pure, autograph=False).get_concrete_function(**specs)
    return Traced(signature, batch, function, variables)


def trace_all(
    model: keras.Model,
    signatures: Mapping[str, Signature],
    batches: Mapping[str, Sequence[int | None]],
    required: bool,
) -> tuple[dict[str, Traced], dict[str, str]]:
    """Traces signatures, each at its batch sizes, to be called inside `in_float32(model)`.

    Args:
        model: the model that the signatures are of.
        signatures: what to trace, by name.
        batches: the batch sizes of each.
        required: whether a signature that the model's distributions do not allow is an error.

    Returns:
        The graphs by their names in a file, such as `decode` and, for a batch of 16, `decode_16`;
        and the reasons why signatures are missing, by name.

    Raises:
        ValueError: if a required signature is not possible, or none is.
    """
    traced: dict[str, Traced] = {}
    impossible: dict[str, str] = {}
    for name, signature in signatures.items():
        for batch in batches[name]:
            try:
                made = trace(model, signature, batch)
            except NotImplementedError as error:
                impossible[name] = str(error).splitlines()[0]
                break
            traced[name if batch in (None, 1) else f"{name}_{batch}"] = made
    if impossible and (required or not traced):
        reasons = "; ".join(f"`{name}`: {reason}" for name, reason in impossible.items())
        raise ValueError(
            f"The model's distributions do not allow every signature asked for: {reasons}. "
            f"Received: signatures {list(signatures)}"
        )
    return traced, impossible


def save_graphs(folder: Path, traced: Mapping[str, Traced]) -> None:
    """Writes graphs as a SavedModel; the first also answers where no signature is named.

    Args:
        folder: an existing folder.
        traced: the graphs by their names in the file.
    """
    module = tf.Module()
    module.weights = list({id(v): v for made in traced.values() for v in made.variables}.values())
    functions = {name: made.function for name, made in traced.items()}
    tf.saved_model.save(
        module,
        str(folder),
        signatures={**functions, "serving_default": next(iter(functions.values()))},
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )


def _needed_operations(roots: list[tf.Operation]) -> dict[str, tf.Operation]:
    """The operations whose values these are computed from, themselves included, by name."""
    found: dict[str, tf.Operation] = {}
    waiting = list(roots)
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs]
    return found


def _graph_of(graph: tf.Graph, needed: dict[str, tf.Operation]) -> tf.compat.v1.GraphDef:
    definition = graph.as_graph_def()
    kept = [node for node in definition.node if node.name in needed]
    for node in kept:
        # Control inputs order side effects and assertions, which an export has none of.
        node.input[:] = [name for name in node.input if not name.startswith("^")]
        # A gradient of the training's own cannot be saved, and nobody differentiates an export.
        node.attr.pop("_gradient_op_type", None)
    return tf.compat.v1.GraphDef(
        node=kept, library=definition.library, versions=definition.versions
    )


def _refuse_noise(
    model: keras.Model,
    signature: Signature,
    scope: keras.StatelessScope,
    whole: tf.Graph,
    needed: dict[str, tf.Operation],
) -> None:
    """Refuses what differs from call to call: random numbers without a seed, and changing state."""

    def refuse(what: str) -> None:
        raise ValueError(
            f"`{signature.name}` would depend on random numbers or a state that its inputs do not "
            "decide. Only the last layer of an encoder or a decoder may draw; take the noise out "
            f"of the others. Received: {what}"
        )

    for operation in needed.values():
        if operation.type.startswith(_STATEFUL_RANDOM):
            refuse(f"{operation.type} at {operation.name!r}")
    for operation in whole.get_operations():
        if operation.type.startswith("Assign") and operation.inputs[0].op.name in needed:
            refuse(f"{operation.type} at {operation.name!r}")
    captured = {id(outer): inner.op.name for outer, inner in whole.captures}
    own = {id(variable.value.handle): variable for variable in model.variables}
    for variable in whole.variables:
        handle = id(variable.handle)
        if captured.get(handle) not in needed:
            continue
        if handle not in own and variable.dtype.is_integer:
            refuse(f"{variable.name}, which is no weight of the model")
        if handle in own and scope.get_current_value(own[handle]) is not None:
            refuse(f"{_owner(model, own[handle])}, which changes with every call")


def _owner(model: keras.Model, variable: keras.Variable) -> str:
    """The innermost layer that has the variable, and the variable."""
    owners = [
        layer
        for layer in model._flatten_layers()
        if any(variable is other for other in layer.variables)
    ]
    innermost = min(owners, key=lambda layer: len(layer.variables))
    return f"{variable.path} of layer {innermost.name!r}"
