"""Which classes and functions the configuration in a `.keras` file may name.

Keras turns every dictionary with a `class_name` into an object, and every second one of its
security fixes has struck one more name from what it will look up. Here the question is asked the
other way round. A name is accepted when it is

- a stock Keras layer, model, initializer, loss, ... under the public module that Keras itself
  writes, or one of the operations behind `keras.ops`;
- a stock activation, loss or metric function;
- registered in this process (`keras.saving.register_keras_serializable`) or given in
  `custom_objects`: then it is the user's own code, and the user vouches for it.

Everything else is refused, unseen. The look-up follows Keras' own order (registered objects first,
then the module), so that what is checked is what Keras will make.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any, NoReturn

import keras

# The modules under whose names Keras 3 writes its classes, and what a class there must be.
_CLASSES: dict[str, ModuleType] = {
    "keras": keras,
    "keras.constraints": keras.constraints,
    "keras.dtype_policies": keras.dtype_policies,
    "keras.initializers": keras.initializers,
    "keras.layers": keras.layers,
    "keras.losses": keras.losses,
    "keras.metrics": keras.metrics,
    "keras.models": keras.models,
    "keras.optimizers": keras.optimizers,
    "keras.optimizers.schedules": keras.optimizers.schedules,
    "keras.random": keras.random,
    "keras.regularizers": keras.regularizers,
}
_KINDS = (
    keras.Layer,
    keras.Loss,
    keras.Metric,
    keras.Optimizer,
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.random.SeedGenerator,
    keras.DTypePolicy,
    keras.dtype_policies.DTypePolicyMap,
)
# What Keras has no public name for: Functional models, and the operations behind `keras.ops`.
_INTERNAL = re.compile(r"keras\.src\.(models\.functional|ops\.[a-z]+)")

# Keras writes no function's module: it calls them all "builtins", and looks through these.
_FUNCTIONS: dict[str, tuple[ModuleType, ...]] = {
    "keras.activations": (keras.activations,),
    "keras.losses": (keras.losses,),
    "keras.metrics": (keras.metrics,),
    "builtins": (keras.activations, keras.losses, keras.metrics),
}

_STORED_CODE = "it runs code that the file brings along"
_FILE_ACCESS = "it reads a file whose path the model file chooses"
_CALLS_OTHERS = "it calls a function that the file chooses"
_FORBIDDEN: dict[str, str] = {
    "Lambda": _STORED_CODE,
    "__lambda__": _STORED_CODE,
    "TorchModuleWrapper": _STORED_CODE,
    "TFSMLayer": _FILE_ACCESS,
    "StringLookup": _FILE_ACCESS,
    "IntegerLookup": _FILE_ACCESS,
    "TextVectorization": _FILE_ACCESS,
    "__typespec__": "it looks up a class by a name that the file chooses",
    **dict.fromkeys(("FlaxLayer", "JaxLayer", "Function", "AssociativeScan"), _CALLS_OTHERS),
    **dict.fromkeys(("Cond", "ForiLoop", "Map", "Scan", "Switch", "Vectorize"), _CALLS_OTHERS),
    **dict.fromkeys(("VectorizedMap", "WhileLoop"), _CALLS_OTHERS),
    **dict.fromkeys(("get", "serialize", "deserialize"), "it makes objects, it is not maths"),
}
# Values, not objects: Keras spells tensors, slices and bytes with a class name too.
_VALUES = frozenset(
    ("__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__")
)


def check_config(
    config: dict[str, Any], custom_objects: Mapping[str, Any] | None, source: str
) -> None:
    """Refuses a model configuration that names anything outside the list.

    Args:
        config: the parsed `config.json` of a `.keras` file.
        custom_objects: names that the caller vouches for, as `keras.saving.load_model` takes them.
        source: the file's path, for the error messages.

    Raises:
        ValueError: a class or function is not on the list, or the whole is not a model.
    """
    _Check(dict(custom_objects or {}), source).model(config)


class _Check:
    """One walk over one configuration; holds what every step of it needs."""

    def __init__(self, custom_objects: dict[str, Any], source: str) -> None:
        self._custom_objects = custom_objects
        self._source = source

    def model(self, config: dict[str, Any]) -> None:
        """The root must be a model, whatever else it holds."""
        if "class_name" not in config:
            self._refuse("config.json", "describes no object: it has no 'class_name'")
        self._walk(config, "config.json")
        if config["class_name"] == "function" or config["class_name"] in _VALUES:
            found: Any = None
        else:
            found = self._class(config, "config.json")
        if not (isinstance(found, type) and issubclass(found, keras.Model)):
            self._refuse("config.json", f"is a {config['class_name']!r}, which is not a model")

    def _walk(self, node: Any, where: str) -> None:
        if isinstance(node, dict):
            if "class_name" in node:
                self._object(node, where)
            inner = [(f"{where}.{key}", item) for key, item in node.items()]
        else:
            inner = [(f"{where}[{index}]", item) for index, item in enumerate(node)]
        for path, item in inner:
            if isinstance(item, (dict, list)):
                self._walk(item, path)

    def _object(self, node: dict[str, Any], where: str) -> None:
        name = node["class_name"]
        for key in ("class_name", "module", "registered_name"):
            if not isinstance(node.get(key), (str, type(None))) or name is None:
                self._refuse(where, f"has a {key!r} that is not a string: {node.get(key)!r}")
        if name == "function":
            self._function(node, where)
        elif name not in _VALUES:
            self._class(node, where)

    def _class(self, node: dict[str, Any], where: str) -> Any:
        name, module = node["class_name"], node.get("module")
        if not name.startswith("__"):
            registered = self._registered(node.get("registered_name", name))
            if registered is not None:
                return registered
        if name in _FORBIDDEN:
            self._refuse(where, f"names {name!r}, which is never loaded: {_FORBIDDEN[name]}")
        if module in _CLASSES:
            found = getattr(_CLASSES[module], name, None)
            if isinstance(found, type) and issubclass(found, _KINDS):
                return found
        elif module is not None and _INTERNAL.fullmatch(module):
            # `sys.modules`, not an import: the file must not choose what gets imported.
            found = getattr(sys.modules.get(module), name, None)
            if isinstance(found, type) and issubclass(found, keras.Operation):
                return found
        key = node.get("registered_name") or name
        self._refuse_unknown(node, where, "class", name, key)

    def _function(self, node: dict[str, Any], where: str) -> None:
        name, module = node.get("config"), node.get("module")
        if not isinstance(name, str):
            self._refuse(where, f"names a function by something that is not a string: {name!r}")
        if self._registered(name) is not None:
            return
        if name in _FORBIDDEN:
            self._refuse(where, f"names {name!r}, which is never called: {_FORBIDDEN[name]}")
        # Keras may look the function up by either of the two names.
        if node.get("registered_name") in (None, name, "function"):
            for namespace in _FUNCTIONS.get(module or "", ()):
                if isinstance(getattr(namespace, name, None), FunctionType):
                    return
        self._refuse_unknown(node, where, "function", name, name)

    def _registered(self, name: str | None) -> Any:
        return keras.saving.get_registered_object(name, custom_objects=self._custom_objects)

    def _refuse_unknown(
        self, node: dict[str, Any], where: str, kind: str, name: str, key: str
    ) -> NoReturn:
        if key.startswith("tfvae>"):
            advice = (
                "This tfvae registers no such name: load the file with the version that wrote it"
            )
        else:
            advice = (
                f"If it is your own, import the code that registers it, or pass custom_objects="
                f"{{{key!r}: ...}}; otherwise do not load this file"
            )
        if where.startswith("config.json.compile_config"):
            advice += ". It serves training alone: compile=False loads the model without it"
        known_as = (
            f"of module {node.get('module')!r}, registered as {node.get('registered_name')!r}"
        )
        self._refuse(
            where,
            f"names the {kind} {name!r} {known_as}, which is neither on tfvae's list of stock "
            f"Keras names nor registered in this process. {advice}",
        )

    def _refuse(self, where: str, what: str) -> NoReturn:
        raise ValueError(f"Refused to load a model: {where} {what}. Received: {self._source!r}")
