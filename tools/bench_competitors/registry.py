"""Who is compared, and in which environment."""

from __future__ import annotations

from dataclasses import dataclass

from bench_competitors.cases import CASES


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        module: the file in this package.
        variant: which of its modes.
        apart: whether it runs in the competitors' own environment.
        does: what it is, for the table's legend.
        networks: which cases it can do.
    """

    module: str
    variant: str
    apart: bool
    does: str
    networks: tuple[str, ...] = ("dense", "conv")


COMPETITORS = {
    "tfvae": Entry("tfvae_vae", "", False, "VAE.for_images, compile(), fit(x): no options"),
    "keras": Entry("keras_model", "", False, "plain Keras 3 model, compile's defaults, fit"),
    "keras-jit": Entry("keras_model", "jit", False, "the same with jit_compile=True"),
    "tfp.layers": Entry("tfp_layers", "", False, "tfp.layers on tf_keras, fit"),
    "torch": Entry("torch_model", "eager", True, "PyTorch eager; channels last, fused Adam"),
    "torch-compile": Entry("torch_model", "compile", True, "the same under torch.compile"),
    "pythae": Entry("pythae_model", "", True, "Pythae's VAE, dataset and trainer"),
    # No convolutions: inside a scan they took 3.7 times the processor time of `jax-step`.
    "jax": Entry(
        "jax_model", "scan", True, "JAX, an epoch jitted as one scan, donated state", ("dense",)
    ),
    "jax-step": Entry("jax_model", "step", True, "JAX, each step one jitted call, donated state"),
    "limit-torch": Entry("limit", "torch", True, "bare products and convolutions, PyTorch"),
    "limit-tf": Entry("limit", "tensorflow", False, "the same, TensorFlow without XLA"),
    "limit-jax": Entry("limit", "jax", True, "the same, JAX"),
    "limit-numpy": Entry("limit", "numpy", True, "the same, NumPy", ("dense",)),
}
"""Every competitor, by the name that `--competitors` takes."""


def takes_part(name: str, case: str) -> bool:
    """Whether a competitor can do a case."""
    return CASES[case].network in COMPETITORS[name].networks


def measures_of(name: str, case: str) -> tuple[str, ...]:
    """What is measured: estimates of the likelihood on the dense model of the papers alone."""
    if name.startswith("limit-"):
        return ("train",)
    evaluation = ("evaluate",) if case == "dense200" else ()
    return ("train", "encode", "sample", *evaluation)
