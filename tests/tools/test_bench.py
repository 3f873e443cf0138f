"""The arithmetic of `tools/bench.py`: medians, ratios, the limit, and whether losses agree."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import bench
from bench_competitors import cases, quiet, registry, report
from bench_competitors.processes import Machine, Worker, run_worker
from bench_competitors.report import Run

HERE = Machine(environment=Path("none"), threads=1, timeout=60.0)


def runs_of(**values):
    """Rounds of one case, by competitor: images a second in training."""
    return [
        Run(name.replace("_", "-"), "dense", 128, number, {"train": value})
        for name, each in values.items()
        for number, value in enumerate(each)
    ]


def test_ratios_are_made_within_a_round():
    # Both are slowed to a tenth in the second round: the ratio is that of the others.
    runs = runs_of(tfvae=[200.0, 20.0, 240.0], jax=[100.0, 10.0, 80.0])
    cell = report.cell(runs, "jax", "train")
    assert cell == report.Cell(median=80.0, ratio=2.0, low=2.0, high=3.0)


def test_a_round_without_the_reference_has_no_ratio():
    runs = [*runs_of(tfvae=[300.0]), *runs_of(jax=[100.0, 50.0])]
    assert report.cell(runs, "jax", "train") == report.Cell(75.0, 3.0, 3.0, 3.0)
    assert report.cell(runs, "jax", "encode") is None
    assert np.isnan(report.cell(runs_of(jax=[1.0]), "jax", "train").ratio)


def test_the_limit_is_the_fastest_library_of_each_round():
    runs = runs_of(tfvae=[60.0, 60.0], limit_torch=[100.0, 70.0], limit_jax=[80.0, 90.0])
    cell = report.cell(report.with_limit(runs), "limit", "train")
    assert (cell.median, cell.low, cell.high) == (95.0, 60 / 100, 60 / 90)


@pytest.mark.parametrize(("factor", "count"), [(1.0, 0), (1.0009, 0), (1.0011, 1), (0.99, 1)])
def test_losses_within_a_thousandth_agree(factor, count):
    reference = {"first": 100.0, "mean": 90.0, "after": 80.0}
    other = {**reference, "after": 80.0 * factor}
    runs = [Run("tfvae", "dense", 32, 0, reference), Run("jax", "dense", 32, 0, other)]
    lines = report.disagreements(runs)
    assert len(lines) == count
    assert all("after of jax" in line for line in lines)


def test_a_loss_that_is_not_a_number_disagrees():
    runs = [
        Run("tfvae", "dense", 32, 0, {"first": 100.0}),
        Run("torch", "dense", 32, 0, {"first": float("nan")}),
        Run("torch", "conv28", 32, 0, {"first": 7.0}),  # no reference: nothing to say
    ]
    assert len(report.disagreements(runs)) == 1


def test_a_loss_missing_for_the_reference_is_reported():
    runs = [Run("tfvae", "dense", 32, 0, {}, "no tf"), Run("jax", "dense", 32, 0, {"first": 1.0})]
    assert report.disagreements(runs) == ["dense: tfvae has no loss to agree with: no tf"]


def test_the_table_shows_failures_and_disturbances():
    runs = [
        *runs_of(tfvae=[3000.0]),
        Run("jax", "dense", 128, 0, {"train": 1500.0}, disturbed=0.4),
        Run("torch-compile", "dense", 128, 0, {}, "no C++ compiler"),
    ]
    lines = report.table(runs).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["tfvae", "jax *", "torch-compile"]
    assert "1,500 (2.00)" in lines[3]
    assert "failed: no C++ compiler" in lines[4]


@pytest.mark.parametrize("case", cases.CASES.values(), ids=lambda case: case.name)
def test_weights_and_layers_fit_each_other(case, tmp_path):
    layers = [*cases.encoder_layers(case), *cases.decoder_layers(case)]
    assert case.num_images % 1024 == 0
    assert layers[0].inputs in (case.image_shape, (case.size,))
    assert np.prod(layers[-1].outputs) == case.size
    cases.save_inputs(tmp_path / "x.npz", case, np.full((2, *case.image_shape), 255, np.uint8))
    inputs = cases.load_inputs(tmp_path / "x.npz", case)
    assert [w.shape for w in inputs.weights[::2]] == [layer.kernel for layer in layers]
    assert [w.shape for w in inputs.weights[1::2]] == [(layer.units,) for layer in layers]
    assert len(inputs.encoder_weights) + len(inputs.decoder_weights) == len(inputs.weights)
    assert inputs.images.dtype == np.float32
    assert inputs.images.max() == 1.0


def test_every_competitor_has_a_file():
    folder = Path(registry.__file__).parent
    for entry in registry.COMPETITORS.values():
        assert (folder / f"{entry.module}.py").is_file()
    assert not registry.takes_part("limit-numpy", "conv28")
    assert registry.measures_of("limit-jax", "dense200") == ("train",)


def test_own_work_is_counted_as_own():
    before, begun = quiet._own(), time.process_time()
    while time.process_time() - begun < 0.1:
        pass
    # In hundredths of a second.
    assert quiet._own() - before >= 0.07
    assert 0.0 <= quiet.Neighbours().share() <= 1.0


@pytest.fixture
def products(tmp_path):
    """How to start the bare products of NumPy, which need nothing that takes long to import."""
    case = cases.CASES["dense"]
    images = np.zeros((256, *case.image_shape), np.uint8)
    cases.save_inputs(tmp_path / "dense.npz", case, images)
    return ["limit-numpy", "dense", "--inputs", str(tmp_path / "dense.npz"), "--seconds", "0.01"]


def state(worker):
    """The letter that Linux gives it."""
    stat = Path(f"/proc/{worker._process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


def test_a_worker_goes_on_in_its_turns_alone(products):
    with Worker(HERE, "worker", products, apart=False) as worker:
        start = worker.answer()
        assert start["ready_s"] >= 0.0
        assert worker.error == ""
        for _ in range(2):
            while state(worker) != "T":
                time.sleep(0.01)
            assert worker.ask()["train"] > 0.0


def test_a_worker_that_ends_says_why(products):
    values, error = run_worker(HERE, "worker", ["nobody", *products[1:]], apart=False)
    assert values == {}
    assert "invalid choice: 'nobody'" in error
    assert run_worker(HERE, "worker", products, apart=True) == (
        {},
        "no environment at none: run with --install",
    )
    with Worker(HERE, "worker", products, apart=False) as worker:
        worker.answer()
        os.kill(worker._process.pid, signal.SIGKILL)
        assert worker.ask() == {}
        assert worker.error == "exit status -9"
        assert worker.ask() == {}


def test_turns_are_numbered_and_failures_are_not_repeated(products, monkeypatch):
    """Two rounds of two turns; what needs the competitors' environment has none."""
    monkeypatch.setitem(
        registry.COMPETITORS, "limit-numpy", registry.Entry("limit", "numpy", False, "", ("dense",))
    )
    options = argparse.Namespace(
        competitors=["limit-numpy", "limit-torch"],
        measures=["train"],
        batches=[128],
        rounds=2,
        turns=2,
        seconds=0.01,
        patience=0.0,
        images=1,
        draws=1,
    )
    folder = Path(products[3]).parent
    runs = bench.measure(HERE, options, folder, "dense", 128)
    failed = [run for run in runs if run.error]
    assert [run.competitor for run in failed] == ["limit-torch"]
    measured = [run for run in runs if run.values]
    assert [run.round for run in measured] == [0, 1, 2, 3]
    assert ["ready_s" in run.values for run in measured] == [True, False] * 2


class Scripted:
    """A worker that answers what it was given, and then fails."""

    def __init__(self, *answers):
        self.answers, self.error = list(answers), ""

    def ask(self):
        if self.answers:
            return dict(self.answers.pop(0))
        self.error = "died"
        return {}


def test_a_disturbed_turn_is_taken_again_and_the_better_one_counts():
    disturbed, calm = {"train": 1.0, "disturbed": 0.5}, {"train": 2.0, "disturbed": 0.0}
    for answers, counts in (
        ([disturbed, calm], (2.0, "", 0.0)),
        ([calm, disturbed], (2.0, "", 0.0)),
        ([disturbed], (1.0, "", 0.5)),  # dead at the second try: the first one stands
    ):
        worker = Scripted(*answers)
        ((name, values, error, share),) = bench.take_turn(
            [bench.Contestant("jax", worker, {"ready_s": 3.0})], patience=0.0, turn=0
        )
        assert (name, values["train"], values["ready_s"]) == ("jax", counts[0], 3.0)
        assert (error, share) == counts[1:]
    ((_, values, error, _),) = bench.take_turn([bench.Contestant("jax", Scripted(), {})], 0.0, 1)
    assert (values, error) == ({}, "died")


def test_limits_take_their_turns_together():
    assert bench.groups_of(["tfvae", "limit-tf", "jax", "limit-jax"]) == [
        ("limit-tf", "limit-jax"),
        ("jax",),
    ]
    assert bench.groups_of(["tfvae"]) == [()]
