"""Attacks through the configuration: every name that is not on the list is refused, unseen."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfvae.saving.archive import check_archive
from tfvae.saving.model_file import load


def refuse(path: Path, match: str, **options: Any) -> None:
    """Both doors must be shut: the check, and the loader that calls it."""
    for function in (check_archive, load):
        with pytest.raises(ValueError, match=match):
            function(path, **options)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A path that exists only if an attack got through."""
    path = tmp_path / "trap"
    yield path
    assert not path.exists()


# --- The known attacks -----------------------------------------------------------------------


def test_cve_2024_3660_a_lambda_layer(tmp_path, trap):
    code = f"lambda x: (open({str(trap)!r}, 'w'), x)[1]"
    function = eval(code)
    model = keras.Sequential([keras.Input((2,))])
    path = tmp_path / "model.keras"
    model.add(keras.layers.Lambda(function, output_shape=(2,)))
    model.save(path)
    trap.unlink(missing_ok=True)  # Keras has called the function to build the layer.
    refuse(path, "names 'Lambda', which is never loaded: it runs code that the file brings along")
    # Also where somebody has switched Keras' own safe mode off for the whole process.
    keras.config.enable_unsafe_deserialization()
    try:
        refuse(path, "names 'Lambda'")
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)


def test_cve_2024_3660_a_lambda_anywhere(forge_layer):
    code = {"class_name": "__lambda__", "config": {"value": ["AAAA", None, None]}}
    refuse(
        forge_layer("keras.layers", "Dense", {"units": 2, "activation": code}),
        r"config\.json\.config\.layers\[1\]\.config\.activation names '__lambda__'",
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("builtins", "exec"), ("subprocess", "run")],
)
def test_cve_2025_1550_a_function_of_any_module(forge_layer, module, name):
    function = {"module": module, "class_name": "function", "config": name}
    path = forge_layer(
        "keras.layers",
        "Dense",
        {"units": 2, "activation": {**function, "registered_name": name}},
    )
    refuse(path, f"names the function '{name}' of module '{module}'")


@pytest.mark.parametrize(
    ("module", "name"),
    [("subprocess", "Popen"), ("keras.src.utils.python_utils", "Lambda2"), ("numpy", "memmap")],
)
def test_cve_2025_1550_a_class_of_any_module(forge_layer, module, name):
    refuse(
        forge_layer(module, name, {"args": "true"}),
        f"names the class '{name}' of module '{module}'.* custom_objects=.*do not load this file",
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.utils", "get_file"),  # CVE-2025-8747; its extraction is CVE-2025-12060
        ("keras.models", "load_model"),
        ("keras.saving", "load_model"),
        ("keras.src.saving.saving_lib", "load_model"),
        ("keras.config", "enable_unsafe_deserialization"),  # CVE-2025-9906
        ("keras.src.backend.common.global_state", "set_global_attribute"),
        ("keras.utils", "image_dataset_from_directory"),
        ("keras.datasets.mnist", "load_data"),
        ("keras", "device"),
        ("keras.ops", "vectorized_map"),
    ],
)
def test_cve_2025_8747_and_9906_functions_of_keras_that_are_not_maths(forge_layer, module, name):
    function = {"module": module, "class_name": "function", "config": name}
    for registered in (None, name, "function", "relu"):
        path = forge_layer(
            "keras.layers",
            "Dense",
            {"units": 2, "activation": {**function, "registered_name": registered}},
        )
        refuse(path, f"names the function '{name}' of module '{module}'")


def test_cve_2025_9906_an_innocent_name_beside_the_real_one(forge_layer):
    """Keras looks a function up by either of its two names."""
    function = {"module": "keras.activations", "class_name": "function", "config": "relu"}
    path = forge_layer(
        "keras.layers",
        "Dense",
        {"units": 2, "activation": {**function, "registered_name": "deserialize"}},
    )
    refuse(path, "names the function 'relu'.* registered as 'deserialize'")


@pytest.mark.parametrize("name", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_cve_2025_12058_a_vocabulary_by_path(forge_layer, name):
    refuse(
        forge_layer("keras.layers", name, {"vocabulary": "/etc/passwd"}),
        f"names '{name}', which is never loaded: it reads a file whose path the model file chooses",
    )


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("TFSMLayer", {"filepath": "/tmp/saved_model"}),  # CVE-2026-1462
        ("TorchModuleWrapper", {"module": {"class_name": "__bytes__", "config": {"value": "A"}}}),
        ("JaxLayer", {"call_fn": "f"}),
        ("FlaxLayer", {"module": "f"}),
    ],
)
def test_cve_2026_1462_and_cve_2025_49655_layers_of_other_frameworks(forge_layer, name, inner):
    refuse(forge_layer("keras.layers", name, inner), f"names '{name}', which is never loaded")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.src.ops.core", "Map"),
        ("keras.src.ops.core", "WhileLoop"),
        ("keras.src.ops.core", "VectorizedMap"),
        ("keras.src.ops.function", "Function"),
        ("keras.src.models.functional", "Function"),
    ],
)
def test_operations_that_call_other_functions(forge_layer, module, name):
    refuse(forge_layer(module, name, {}), f"names '{name}', which is never loaded: it calls")


@pytest.mark.parametrize("module", ["keras.activations", "keras.losses", "builtins"])
@pytest.mark.parametrize("name", ["get", "serialize", "deserialize"])
def test_functions_that_make_objects(forge_layer, module, name):
    function = {"module": module, "class_name": "function", "config": name}
    path = forge_layer("keras.layers", "Dense", {"units": 2, "activation": function})
    refuse(path, f"names '{name}', which is never called")


# --- Names that only look right --------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.layers", "NoSuchLayer"),
        ("keras.layers", "__class__"),
        ("keras.layers", "InputSpec"),
        ("keras.layers", "Layer.from_config"),
        ("keras", "Variable"),
        ("keras", "layers"),
        ("keras", "StatelessScope"),
        ("keras.src.layers", "Lambda2"),
        ("keras.src.layers.core.dense", "Dense"),
        ("keras.src.ops.numpy", "np"),
        ("keras.src.ops.numpy", "KerasTensor"),
        ("keras.src.ops.absent", "Add"),
        ("keras.src.ops.numpy.extra", "Add"),
        ("keras.api.layers", "Dense"),
        ("tf_keras.layers", "Dense"),
        ("keras_hub.models", "Backbone"),
        ("keras.callbacks", "LambdaCallback"),
        (None, "Dense"),
        ("", "Dense"),
    ],
)
def test_other_names_are_refused(forge_layer, module, name):
    refuse(
        forge_layer(module, name, {"units": 2}), f"names the class '{name}' of module {module!r}"
    )


def test_the_old_format_without_modules_is_refused(forge):
    """Keras reads a layer without the key 'module' with its legacy loader, which has no guard."""

    def edit(config):
        layer = config["config"]["layers"][1]
        del layer["module"]

    refuse(forge(edit), "names the class 'Dense' of module None")


def test_type_specs_are_refused(forge_layer):
    spec = {"class_name": "__typespec__", "spec_name": "TensorSpec", "module": "os", "config": []}
    refuse(forge_layer("keras.layers", "Dense", {"units": 2, "x": spec}), "'__typespec__'")


@pytest.mark.parametrize("name", [None, 3, ["Dense"], {"a": 1}])
@pytest.mark.parametrize("key", ["class_name", "registered_name", "module"])
def test_names_must_be_strings(forge, name, key):
    if name is None and key != "class_name":
        return  # Keras writes null there.

    def edit(config):
        config["config"]["layers"][1][key] = name

    refuse(forge(edit), f"has a '{key}' that is not a string")


def test_a_function_must_be_named_by_a_string(forge_layer):
    function = {"module": "keras.activations", "class_name": "function", "config": ["relu"]}
    path = forge_layer("keras.layers", "Dense", {"units": 2, "activation": function})
    refuse(path, "names a function by something that is not a string")


@pytest.mark.parametrize(
    ("root", "match"),
    [
        ({}, "describes no object"),
        ({"class_name": "__tensor__", "config": {}}, "is a '__tensor__', which is not a model"),
        (
            {"class_name": "function", "module": "keras.activations", "config": "relu"},
            "is a 'function', which is not a model",
        ),
        (
            {"class_name": "Dense", "module": "keras.layers", "config": {"units": 1}},
            "is a 'Dense', which is not a model",
        ),
    ],
)
def test_the_whole_must_be_a_model(forge, root, match):
    refuse(forge(config_json=json.dumps(root).encode()), match)


# --- The user's own code ----------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="saving_tests")
class Doubling(keras.layers.Layer):
    def call(self, x):
        return 2 * x


class Tripling(keras.layers.Layer):
    def call(self, x):
        return 3 * x


def tripled(x):
    return 3 * x


def test_registered_classes_are_accepted(tmp_path):
    model = keras.Sequential([keras.Input((2,)), Doubling()])
    model.save(tmp_path / "model.keras")
    assert np.array_equal(load(tmp_path / "model.keras")(np.ones((1, 2))), [[2, 2]])


def test_unregistered_classes_and_functions_need_custom_objects(tmp_path):
    model = keras.Sequential([keras.Input((2,)), Tripling(), keras.layers.Activation(tripled)])
    path = tmp_path / "model.keras"
    model.save(path)
    refuse(path, r"names the class 'Tripling' .* pass custom_objects=\{'Tripling': \.\.\.\}")
    refuse(
        path,
        r"names the function 'tripled' .* pass custom_objects=\{'tripled': \.\.\.\}",
        custom_objects={"Tripling": Tripling},
    )
    mine = {"Tripling": Tripling, "tripled": tripled}
    assert np.array_equal(load(path, custom_objects=mine)(np.ones((1, 2))), [[9, 9]])
    with keras.saving.custom_object_scope(mine):
        assert np.array_equal(load(path)(np.ones((1, 2))), [[9, 9]])


def test_an_unknown_name_of_tfvae_asks_for_another_version(forge_layer):
    refuse(
        forge_layer("tfvae.layers.future", "Future", {}, registered_name="tfvae>Future"),
        "This tfvae registers no such name: load the file with the version that wrote it",
    )


def test_what_a_registered_object_holds_is_walked_too(forge_layer):
    inner = {"thing": [{"class_name": "Popen", "module": "subprocess", "config": {}}]}
    path = forge_layer(__name__, "Doubling", inner, registered_name="saving_tests>Doubling")
    refuse(path, r"layers\[1\]\.config\.thing\[0\] names the class 'Popen'")


def test_a_registered_name_does_not_open_the_door_to_dunder_names(forge_layer):
    path = forge_layer(
        None, "__lambda__", {"value": "AAAA"}, registered_name="saving_tests>Doubling"
    )
    refuse(path, "names '__lambda__'")


def test_the_training_configuration_may_be_left_out(tmp_path, trap):
    def loss(y, p):
        open(trap, "w").close()
        return p - y

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss)
    path = tmp_path / "model.keras"
    model.save(path)
    refuse(path, "names the function 'loss'.* compile=False loads the model without it")
    x = np.ones((1, 2), "float32")
    assert np.array_equal(load(path, compile=False)(x), model(x))

    # But only that of the whole, as in Keras: inner models are compiled regardless.
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["compile_config"] = config.pop("compile_config")
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    refuse(path, "names the function 'loss'", compile=False)
    assert not os.path.exists(trap)
