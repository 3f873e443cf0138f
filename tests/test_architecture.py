"""The house: a module imports from lower floors, and nothing goes in circles."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tfvae

ROOT = Path(tfvae.__file__).parent

# Each name is a module or a package of `tfvae`. A package is one room of its floor: its own
# modules may import each other, without cycles.
FLOORS = {
    10: ("__main__",),
    9: ("cli",),
    8: ("plots", "explorer"),
    7: ("callbacks", "latent", "export", "serving"),
    6: ("metrics",),
    5: ("models",),
    4: ("losses", "objectives", "priors", "regularizers"),
    3: ("layers",),
    2: ("divergences", "flows", "networks", "schedules"),
    1: ("distributions",),
    0: ("random", "data", "saving"),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def module_name(path: Path) -> str:
    parts = ["tfvae", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}
MODULES = [name for name, path in PATHS.items() if path.name != "__init__.py"]
PACKAGES = [name for name in PATHS if name not in MODULES and name != "tfvae"]


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(module: str, tree: ast.AST) -> list[str]:
    """The absolute names of all that a module imports, wherever in it the import stands."""
    package = (
        module if PATHS.get(module, Path()).name == "__init__.py" else module.rpartition(".")[0]
    )
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            # `from tfvae import random` imports a module, `from tfvae.random import seeds` a name.
            found += [
                full if full in PATHS else base
                for full in (f"{base}.{alias.name}" for alias in node.names)
                if full != "tfvae.__version__"
            ]
    return found


def own_imports(module: str) -> set[str]:
    return {name for name in imports(module, TREES[module]) if name.split(".")[0] == "tfvae"}


def breaches(module: str, imported: set[str]) -> list[str]:
    """What of `imported` is not on a lower floor than `module`, nor in its room."""
    wrong = []
    for name in sorted(imported):
        if name == "tfvae":
            # Everything is below the command line, which may therefore use the front door.
            if FLOOR[room_of(module)] < FLOOR["cli"]:
                wrong.append("imports the whole house, `tfvae`")
        elif name not in PATHS:
            wrong.append(f"imports {name}, which is not there")
        elif room_of(name) == room_of(module):
            if name == f"tfvae.{room_of(name)}" and module != name:
                wrong.append(f"imports its own package {name}, a circle through `__init__.py`")
        elif FLOOR[room_of(name)] >= FLOOR[room_of(module)]:
            floors = FLOOR[room_of(module)], FLOOR[room_of(name)]
            wrong.append(f"is on floor {floors[0]} and imports {name} of floor {floors[1]}")
    return wrong


def test_every_room_is_on_the_plan():
    rooms = {room_of(name) for name in PATHS if name != "tfvae"}
    assert rooms <= set(FLOOR), f"give these a floor in {Path(__file__).name}: {rooms - set(FLOOR)}"
    assert len(rooms) >= 10


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    assert breaches(module, own_imports(module)) == []


@pytest.mark.parametrize("room", sorted({room_of(name) for name in MODULES}))
def test_a_room_has_no_circles(room):
    inside = {name: own_imports(name) for name in MODULES if room_of(name) == room}
    try:
        order = list(TopologicalSorter(inside).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")
    assert set(inside) <= set(order)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_only_hand_names_on(package):
    body = TREES[package].body
    assert ast.get_docstring(TREES[package])
    others = [
        node
        for node in body[1:]
        if not isinstance(node, (ast.Import, ast.ImportFrom))
        and not (isinstance(node, ast.Assign) and node.targets[0].id == "__all__")
    ]
    assert [ast.unparse(node) for node in others] == []
    names = {room_of(name) for name in own_imports(package)}
    assert names <= {room_of(package)}
    handed_on = {
        alias.asname or alias.name
        for node in body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    (exported,) = (ast.literal_eval(n.value) for n in body if isinstance(n, ast.Assign))
    assert sorted(handed_on) == sorted(exported)


@pytest.mark.parametrize("module", MODULES)
def test_matplotlib_stays_on_its_floor(module):
    roots = {name.split(".")[0] for name in imports(module, TREES[module])}
    assert "matplotlib" not in roots or FLOOR[room_of(module)] == FLOOR["plots"]


CODE = {
    "import tfvae.models.vae": ["is on floor 3 and imports tfvae.models.vae of floor 5"],
    "from tfvae import priors": ["is on floor 3 and imports tfvae.priors of floor 4"],
    "from ..losses import x": ["is on floor 3 and imports tfvae.losses of floor 4"],
    "def f():\n    from tfvae.plots import x": ["is on floor 3 and imports tfvae.plots of floor 8"],
    "from tfvae.layers import Samples": [
        "imports its own package tfvae.layers, a circle through `__init__.py`"
    ],
    "import tfvae": ["imports the whole house, `tfvae`"],
    "from tfvae import VAE": ["imports the whole house, `tfvae`"],
    "from tfvae import __version__": [],
    "from tfvae.layers.bernoulli import x": [],
    "from .bernoulli import x": [],
    "from tfvae import random\nimport keras": [],
    "from tfvae.distributions import plain": [],
}


@pytest.mark.parametrize("code", CODE)
def test_this_test_sees(code):
    module = "tfvae.layers.normal"
    found = {name for name in imports(module, ast.parse(code)) if name.split(".")[0] == "tfvae"}
    assert breaches(module, found) == CODE[code]
