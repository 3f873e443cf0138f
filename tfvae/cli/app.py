"""The commands. Each imports what it computes with when it runs, so that `--help` is instant."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tfvae.cli import console

app = typer.Typer(
    name="tfvae",
    help="Variational autoencoders for Keras 3: train, look, measure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Model(StrEnum):
    vae = "vae"
    ae = "ae"


class Network(StrEnum):
    dense = "dense"
    conv = "conv"


class Likelihood(StrEnum):
    auto = "auto"
    bernoulli = "bernoulli"
    normal = "normal"


class Format(StrEnum):
    saved_model = "saved_model"
    tflite = "tflite"


class Quantization(StrEnum):
    none = "none"
    float16 = "float16"
    dynamic = "dynamic"
    int8 = "int8"


class Binarize(StrEnum):
    auto = "auto"
    none = "none"
    static = "static"
    dynamic = "dynamic"


RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, as `tfvae train` made it.")]
PictureFile = Annotated[Path, typer.Option("--out", help="PNG file to write.")]
Source = Annotated[
    str | None,
    typer.Option(
        "--data", help="Data to use instead of the run's own; its test part.", show_default=False
    ),
]


@app.command()
def train(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Option(
            help="digits or faces (in the package), a name of keras.datasets, an .npz or .npy "
            "file, a folder of IDX files or of pictures."
        ),
    ] = "faces",
    model: Annotated[Model, typer.Option(help="Variational or deterministic.")] = Model.vae,
    network: Annotated[Network, typer.Option(help="Kind of network.")] = Network.dense,
    hidden: Annotated[
        str, typer.Option(help="Sizes of the encoder's hidden layers, such as 200,200.")
    ] = "",
    activation: Annotated[str, typer.Option(help="Activation of hidden layers.")] = "relu",
    latent_dim: Annotated[int, typer.Option(min=1, help="Size of a code.")] = 16,
    likelihood: Annotated[
        Likelihood, typer.Option(help="p(x|z); auto: bernoulli for grey images, normal for colour.")
    ] = Likelihood.auto,
    beta: Annotated[float, typer.Option(min=0.0, help="Weight of the divergence.")] = 1.0,
    binarize: Annotated[
        Binarize, typer.Option(help="Draws of binary pixels; auto: dynamic for bernoulli.")
    ] = Binarize.auto,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples a step.")] = 128,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of Adam.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and noise.")] = 0,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Resize images to this size.", show_default=False)
    ] = None,
    num_examples: Annotated[
        int | None, typer.Option(min=3, help="Use only so many.", show_default=False)
    ] = None,
    validation_fraction: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the training data to validate on.")
    ] = 0.05,
    out: Annotated[
        Path | None, typer.Option(help="Run folder.", show_default="runs/DATA-MODEL")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the training in --out.")
    ] = False,
) -> None:
    """Train a model; write it, its history and pictures to a run folder."""
    sizes = _sizes(hidden)
    console.load_tensorflow()
    from tfvae.cli import training
    from tfvae.cli.datasets import absolute_source
    from tfvae.cli.run import RunConfig

    options: dict[str, Any] = {
        "data": absolute_source(data),
        "model": model.value,
        "network": network.value,
        "hidden": sizes,
        "activation": activation,
        "latent_dim": latent_dim,
        "likelihood": likelihood.value,
        "beta": beta,
        "binarize": binarize.value,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "image_size": image_size,
        "num_examples": num_examples,
        "validation_fraction": validation_fraction,
    }
    if resume:
        if out is None:
            raise ValueError(
                "--resume needs the run to continue: add --out DIR. Received: no --out"
            )
        given = {name: options[name] for name in options if _is_given(context, name)}
        raise typer.Exit(training.resume(out, given))
    folder = out or Path("runs") / f"{Path(data).stem}-{model.value}"
    raise typer.Exit(training.start(RunConfig(**options), folder))


@app.command()
def sample(
    run: RunFolder,
    out: PictureFile,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of samples.")] = 64,
    seed: Annotated[int, typer.Option(help="The same seed, the same pictures.")] = 0,
) -> None:
    """Generate images from the prior."""
    opened = _open(run)
    from tfvae.cli.pictures import save_samples

    save_samples(opened.model, n, seed, out)
    _written(out)


@app.command()
def reconstruct(run: RunFolder, out: PictureFile, data: Source = None) -> None:
    """Draw test images above what the model makes of them."""
    opened = _open(run)
    from tfvae.cli.pictures import save_reconstructions

    save_reconstructions(opened.model, _test_images(opened, data), out)
    _written(out)


@app.command()
def interpolate(run: RunFolder, out: PictureFile, data: Source = None) -> None:
    """Draw the way between pairs of test images through the latent space."""
    opened = _open(run)
    from tfvae.cli.pictures import save_interpolations

    save_interpolations(opened.model, _test_images(opened, data), out)
    _written(out)


@app.command()
def evaluate(
    run: RunFolder,
    data: Source = None,
    num_samples: Annotated[int, typer.Option(min=1, help="Importance samples.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure a model on test data, in nats."""
    opened = _open(run)
    from tfvae.cli.scores import evaluate as evaluate_model

    scores = evaluate_model(opened.config, opened.model, _test_images(opened, data), num_samples)
    if as_json:
        print(json.dumps(scores.as_dict()))
    else:
        for line in scores.lines():
            console.out.print(line)


@app.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Model folder (saved_model) or .tflite file to write.")],
    file_format: Annotated[
        Format, typer.Option("--format", help="For TensorFlow Serving, or for a device.")
    ] = Format.saved_model,
    version: Annotated[
        int | None, typer.Option(min=1, help="saved_model: its number.", show_default="the next")
    ] = None,
    quantization: Annotated[
        Quantization, typer.Option(help="tflite: precision of the networks.")
    ] = Quantization.none,
    integer_io: Annotated[
        bool, typer.Option("--integer-io", help="tflite with int8: integers at the edges too.")
    ] = False,
) -> None:
    """Write a model for a server, a phone or a browser."""
    opened = _open(run)
    from tfvae.cli.exporting import export_saved_model, export_tflite

    if file_format is Format.saved_model:
        if quantization is not Quantization.none or integer_io:
            raise ValueError(
                "A SavedModel is float32: --quantization and --integer-io are for --format "
                f"tflite. Received: --quantization {quantization.value}"
            )
        written = export_saved_model(opened, out, version)
    else:
        if version is not None:
            raise ValueError(
                "Versions are folders of a SavedModel: leave --version out with --format tflite. "
                f"Received: --version {version}"
            )
        precision = None if quantization is Quantization.none else quantization.value
        written = export_tflite(opened, out, precision, integer_io)
    _written(written)


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(help="Model folder, as `tfvae export` made it.")],
    port: Annotated[int, typer.Option(help="For gRPC.")] = 8500,
    rest_port: Annotated[int, typer.Option(help="For REST.")] = 8501,
    host: Annotated[str, typer.Option(help="Interface of the embedded server.")] = "127.0.0.1",
    batching: Annotated[
        bool, typer.Option(help="Whether concurrent requests are computed together.")
    ] = True,
    embedded: Annotated[
        bool,
        typer.Option("--embedded", help="Run the embedded server even where there is a real one."),
    ] = False,
) -> None:
    """Serve an export with TensorFlow Serving's protocol.

    Runs tensorflow_model_server if it is on the PATH, and else an embedded server that speaks the
    same protocol, for development and tests.
    """
    with console.quiet_start():
        from tfvae import serving

        serve_model = serving.serve
    status = serve_model(
        model,
        host=host,
        port=port,
        rest_port=rest_port,
        batching=batching,
        embedded=embedded,
        announce=lambda line: console.err.print(line, markup=False),
    )
    raise typer.Exit(status)


@app.command()
def explore(
    folder: Annotated[
        Path, typer.Argument(help="Run, folder with one .keras file, or a page made before.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the page here and open nothing."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data that the model knows, for attributes and examples."),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(help="Folder with LiteRT.js.", show_default="fetched once with npm"),
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Leave LiteRT.js out; `tfvae explore PAGE` adds it.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether to open the browser.")
    ] = True,
) -> None:
    """Explore a model's latent space in a web page that runs it in the browser."""
    with console.quiet_start():
        from tfvae.cli import exploring
    page = exploring.explore(folder, out, data, runtime, bare)
    if out is None and not bare:
        exploring.show(page, port, open_browser)
    else:
        _written(page)


@app.command()
def info(run: RunFolder) -> None:
    """Say what a run folder holds."""
    opened = _open(run)
    from tfvae.callbacks import read_history
    from tfvae.cli.run import HISTORY

    config, model = opened.config, opened.model
    console.out.print(f"{type(model).__name__} with {model.count_params():,} parameters")
    console.out.print(f"data {model.data_shape} -> code {model.latent_shape}")
    console.out.print(f"trains {model.execution(config.batch_size)}", markup=False)
    for name, value in vars(config).items():
        console.out.print(f"  {name} {value}", markup=False)
    rows = read_history(run / HISTORY)
    if rows:
        logs = {name: v for name, v in rows[-1].items() if name not in ("epoch", "seconds")}
        console.out.print(f"after epoch {len(rows)}: {console.in_nats(logs)}")
    console.out.print("files: " + ", ".join(sorted(path.name for path in run.iterdir())))


@app.command()
def doctor() -> None:
    """Say what is installed, which devices are seen, and what an extra still needs."""
    with console.quiet_start():
        from tfvae.cli.doctor import report

        lines = report()
    for line in lines:
        console.out.print(line, markup=False)


def _open(run: Path) -> Any:
    console.load_tensorflow()
    from tfvae.cli.run import Run

    return Run.open(run)


def _test_images(opened: Any, source: str | None) -> Any:
    from tfvae.cli.datasets import load_splits

    return load_splits(opened.config, source).test.images


def _written(path: Path) -> None:
    console.out.print(f"wrote {path}", markup=False)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(",") if text)
    except ValueError:
        raise ValueError(
            f"--hidden takes sizes with commas between them, such as 200,200. Received: {text!r}"
        ) from None


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def main() -> None:
    """Runs the command line; what the user can mend is said in one line, without a traceback."""
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        console.err.print(f"[red]error:[/] {_escaped(error)}")
        sys.exit(1)


def _escaped(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))
