"""A training that is stopped and resumed ends where one that was never stopped does."""

import os
import signal

import numpy as np
import pytest

import tfvae
from tfvae.callbacks import read_history
from tfvae.cli import training
from tfvae.cli.progress import EpochLines

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


class StopAt(EpochLines):
    """Sends the process a signal after a step, as a user or a scheduler would."""

    step = 0
    number = signal.SIGTERM

    def on_train_batch_end(self, batch, logs=None):
        type(self).step -= 1
        if self.step == 0:
            os.kill(os.getpid(), self.number)


def state_of(folder):
    model = tfvae.load(folder)
    return [v.numpy() for v in (*model.variables, *model.optimizer.variables)]


def losses_of(folder):
    rows = read_history(folder / "history.csv")
    return [{name: v for name, v in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize(
    ("step", "number"), [(3, signal.SIGTERM), (11, signal.SIGINT), (17, signal.SIGTERM)]
)
def test_resumed_equals_uninterrupted(step, number, run_folder, run_command, tmp_path, monkeypatch):
    # 1,365 training images make 11 steps an epoch: in the first, at its end, in the second.
    StopAt.step, StopAt.number = step, number
    monkeypatch.setattr(training, "EpochLines", StopAt)
    usual = signal.getsignal(number)
    stopped = run_command("train", *OPTIONS, "--out", tmp_path / "run")
    assert stopped.exit_code == 128 + number
    assert f"after step {step}" in stopped.stderr
    assert signal.getsignal(number) is usual
    assert (tmp_path / "run" / "model.keras").exists()
    assert run_command("train", "--resume", "--out", tmp_path / "run").exit_code == 0
    for ours, theirs in zip(state_of(tmp_path / "run"), state_of(run_folder), strict=True):
        assert np.array_equal(ours, theirs)
    assert losses_of(tmp_path / "run") == losses_of(run_folder)


def test_resume_keeps_its_options(run_folder, run_command):
    with pytest.raises(ValueError, match="began with latent_dim=2"):
        run_command("train", "--resume", "--latent-dim", 3, "--out", run_folder)


def test_a_complete_run_says_so(run_folder, run_command):
    result = run_command("train", "--resume", "--out", run_folder)
    assert result.exit_code == 0
    assert "the training is complete" in result.stderr


def test_a_loss_that_is_not_finite_stops_the_training(run_command, tmp_path):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        run_command("train", *OPTIONS, "--learning-rate", 1e30, "--out", tmp_path / "run")
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))
