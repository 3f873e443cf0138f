"""What the HDF5 file inside a `.keras` file may hold, and whether Keras restored all of it.

HDF5 can point outside itself in four ways (external links, soft links, external storage, virtual
datasets), can declare an array of terabytes in a few bytes (chunks, filters, storage allocated
late), can hold Python objects and references, and can call a filter plugin from a shared library.
Keras uses none of it: it writes groups, plain numeric arrays in one block, and string attributes.
So one rule suffices: an array is accepted if its declared size is the size of its stored bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import h5py
import numpy as np

_PLAIN_LAYOUTS = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)


def check_weights(file: BinaryIO, source: str) -> None:
    """Refuses an HDF5 file with anything but groups, plain arrays and string attributes.

    Args:
        file: the HDF5 file, open for reading.
        source: the path of the file that it came from, for the error messages.

    Raises:
        ValueError: the file is damaged or holds something else.
    """
    try:
        with h5py.File(file, "r") as root:
            problem = next(_problems(root), None)
    except Exception as error:  # h5py reports damage by whatever the damaged bytes led it to.
        raise ValueError(
            "Refused to load a model: its weights are damaged or not HDF5; fetch or save the file "
            f"again. Received: {source!r} ({error})"
        ) from error
    if problem is not None:
        raise ValueError(
            f"Refused to load a model: in model.weights.h5, {problem}. Received: {source!r}"
        )


def _problems(root: h5py.File) -> Iterator[str]:
    """What is wrong with each object, following hard links alone."""
    seen = set()
    waiting: list[tuple[str, h5py.Group | h5py.Dataset]] = [("/", root)]
    while waiting:
        path, item = waiting.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            yield f"{path!r} reaches an object that another path reaches"
            continue
        seen.add(address)
        for name in item.attrs:
            attribute = item.attrs.get_id(name)
            if attribute.shape != () or h5py.check_string_dtype(attribute.dtype) is None:
                yield f"{path!r} has an attribute {name!r} that is not a string"
        if isinstance(item, h5py.Dataset):
            yield from (f"{path!r} {problem}" for problem in _dataset_problems(item))
            continue
        for name in item:
            inner = f"{path.rstrip('/')}/{name}"
            link = item.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                yield f"{inner!r} is a {type(link).__name__}, which may point anywhere"
            elif not isinstance(item[name], (h5py.Group, h5py.Dataset)):
                yield f"{inner!r} is neither a group nor an array"
            else:
                waiting.append((inner, item[name]))


def _dataset_problems(item: h5py.Dataset) -> Iterator[str]:
    settings = item.id.get_create_plist()
    if item.is_virtual:
        yield "is a virtual dataset, which reads other files"
    if settings.get_external_count():
        yield "is stored outside the file, in a file of its choosing"
    if settings.get_layout() not in _PLAIN_LAYOUTS or settings.get_nfilters():
        yield "is chunked or compressed, which Keras never writes"
    # Keras stores bfloat16 as two opaque bytes.
    opaque = item.dtype.kind == "V" and item.dtype.fields is None and item.dtype.itemsize == 2
    if item.dtype.kind not in "biuf" and not opaque:
        yield f"holds {item.dtype}, not numbers"
    stored = item.id.get_storage_size()
    if item.shape is None or item.nbytes != stored:
        yield f"declares {item.nbytes} bytes and stores {stored}"


def check_restored(saved: BinaryIO, restored: BinaryIO, complete: bool, source: str) -> None:
    """Refuses a load that left state behind, made some up or changed it.

    Keras only warns when it skips an optimizer or a nested layer, and says nothing of weights that
    no layer asked for. Saving the loaded model again and comparing the two files catches all of
    these, whatever the wording of the warning.

    Args:
        saved: the HDF5 file that was loaded.
        restored: the HDF5 file that the loaded model writes.
        complete: whether every array of `saved` must be in `restored`. Loading without compiling
            leaves the state of training behind on purpose.
        source: the path of the file that was loaded, for the error message.

    Raises:
        ValueError: an array is missing on one side, or differs in shape, type or any bit.
    """
    with h5py.File(saved, "r") as before, h5py.File(restored, "r") as after:
        names_before, names_after = _arrays(before), _arrays(after)
        lost = sorted(names_before - names_after) if complete else []
        made_up = sorted(names_after - names_before)
        changed = sorted(
            name for name in names_before & names_after if _differ(before[name], after[name])
        )
    problems = [
        f"{text} ({len(names)}): {', '.join(names[:5])}"
        for text, names in (
            ("in the file, but not in the model", lost),
            ("in the model, but not in the file", made_up),
            ("not the same in both", changed),
        )
        if names
    ]
    if problems:
        raise ValueError(
            "The model that Keras loaded is not the one in the file; "
            f"{'; '.join(problems)}. Load it with the code and the version that saved it, or with "
            "compile=False if only the state of training ('optimizer') is concerned. "
            f"Received: {source!r}"
        )


def _arrays(root: h5py.File) -> set[str]:
    names: set[str] = set()
    root.visititems(lambda name, item: names.add(name) if hasattr(item, "shape") else None)
    return names


def _differ(a: h5py.Dataset, b: h5py.Dataset) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return True
    # Bytes, not values: a NaN equals itself.
    return np.asarray(a).tobytes() != np.asarray(b).tobytes()
