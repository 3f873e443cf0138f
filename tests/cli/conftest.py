"""One small run that the tests of the command line share."""

import pytest
from typer.testing import CliRunner

from tfvae.cli.app import app

OPTIONS = [
    "--data",
    "digits",
    "--hidden",
    "32",
    "--latent-dim",
    "2",
    "--epochs",
    "3",
    "--seed",
    "5",
]


@pytest.fixture(scope="session")
def run_command():
    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, run_command):
    folder = tmp_path_factory.mktemp("run") / "vae"
    result = run_command("train", *OPTIONS, "--out", folder)
    assert result.exit_code == 0
    return folder
