"""The charts: every line, dot and label there, every scale right."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from tfvae import plots

CODES = np.zeros((4, 2))
HISTORY = {
    "loss": [560.0, 140.0, 120.0, 112.0, 108.0, 106.0, 105.0, 104.5],
    "nll": [550.0, 125.0, 100.0, 90.0, 85.0, 82.0, 80.5, 79.5],
    "kl": [10.0, 15.0, 20.0, 22.0, 23.0, 24.0, 24.5, 25.0],
    "val_loss": [150.0, 130.0, 118.0, 112.0, 109.0, 107.0, 106.0, 105.5],
    "learning_rate": [1e-3] * 8,
}


def texts(artists) -> list[str]:
    return [artist.get_text() for artist in artists]


def notes(figure: Figure) -> list[str]:
    return [text for axes in figure.axes for text in texts(axes.texts)]


def test_training_curves_draw_a_panel_for_each_metric():
    figure = plots.training_curves(HISTORY)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "loss",
        "negative log-likelihood",
        "KL divergence",
    ]
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 1, 1]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 3
    assert figure.axes[0].get_ylabel() == "nats an example"
    for axes, name in zip(figure.axes, ("loss", "nll", "kl"), strict=True):
        line = axes.get_lines()[0]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 9))
        np.testing.assert_array_equal(line.get_ydata(), HISTORY[name])
    assert len({axes.get_lines()[0].get_color() for axes in figure.axes}) == 3


def test_training_curves_dash_validation_in_the_same_colour():
    figure = plots.training_curves(HISTORY)
    training, validation = figure.axes[0].get_lines()
    assert training.get_color() == validation.get_color()
    assert (training.is_dashed(), validation.is_dashed()) == (False, True)
    np.testing.assert_array_equal(validation.get_ydata(), HISTORY["val_loss"])
    assert texts(figure.legends[0].get_texts()) == ["training", "validation"]


def test_training_curves_without_validation():
    figure = plots.training_curves({"loss": [3.0, 2.0, 1.0], "kl": [0.1, 0.2, 0.3]})
    assert [len(axes.get_lines()) for axes in figure.axes] == [1, 1]
    assert texts(figure.legends[0].get_texts()) == ["training"]


def test_training_curves_take_other_metrics_in_order():
    history = {"elbo": [-3.0, -2.0], "val_bound": [-5.0, -4.0], "loss": [1.0, 2.0]}
    figure = plots.training_curves(history, metrics=("bound", "elbo", "absent"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["bound", "elbo"]
    assert texts(figure.legends[0].get_texts()) == ["training", "validation"]


def test_a_huge_first_epoch_does_not_flatten_the_rest():
    loss = np.r_[1e6, np.linspace(120.0, 100.0, 30)]
    figure = plots.training_curves({"loss": loss})
    bottom, top = figure.axes[0].get_ylim()
    assert 98 < bottom < 100
    assert 120 < top < 122
    assert notes(figure) == ["↑ off the scale: 1e+06"]


def test_values_far_below_are_noted_too():
    figure = plots.training_curves({"kl": np.r_[-800.0, np.linspace(20.0, 25.0, 30)]})
    bottom, top = figure.axes[0].get_ylim()
    assert 19 < bottom < 20
    assert 25 < top < 26
    assert notes(figure) == ["↓ off the scale: -800"]


@pytest.mark.parametrize(
    "values", [np.linspace(100.0, 0.0, 20), [550.0, 120.0], [0.0] * 9 + [5.0], [7.0] * 5, [0.0]]
)
def test_ordinary_curves_are_shown_whole(values):
    figure = plots.training_curves({"loss": values})
    bottom, top = figure.axes[0].get_ylim()
    assert bottom < np.min(values)
    assert top > np.max(values)
    assert notes(figure) == []


def test_a_single_epoch_is_a_dot():
    figure = plots.training_curves({"loss": [3.0], "val_loss": [4.0]})
    training, validation = figure.axes[0].get_lines()
    assert (training.get_marker(), training.get_markevery()) == ("o", [True])
    # The two differ in the dot's filling, and the legend tells which is which.
    assert to_hex(training.get_markerfacecolor()) == to_hex(training.get_color())
    assert to_hex(validation.get_markerfacecolor()) == "#ffffff"
    assert [line.get_marker() for line in figure.legends[0].get_lines()] == ["o", "o"]
    figure.canvas.draw()
    ticks = [tick for tick in figure.axes[0].get_xticks() if 0.5 <= tick <= 1.5]
    assert ticks == [1.0]


def test_values_that_are_not_finite_leave_gaps():
    figure = plots.training_curves({"loss": [9.0, 8.0, np.nan, 7.0, np.inf, 5.0, 4.0]})
    (line,) = figure.axes[0].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [9.0, 8.0, np.nan, 7.0, np.nan, 5.0, 4.0])
    assert line.get_markevery() == [False, False, False, True, False, False, False]
    bottom, top = figure.axes[0].get_ylim()
    assert 3.5 < bottom < 4
    assert 9 < top < 9.5


def test_a_curve_with_no_finite_value_says_so():
    figure = plots.training_curves({"loss": [np.nan, np.nan], "kl": [1.0, 2.0]})
    assert notes(figure) == ["no finite value"]
    assert len(figure.axes[0].get_yticks()) == 0


@pytest.mark.parametrize("epochs", [1, 2, 3, 8, 47, 1000])
def test_epoch_ticks_are_whole_and_start_at_one(epochs):
    figure = plots.training_curves({"loss": np.linspace(2.0, 1.0, epochs)})
    figure.canvas.draw()
    left, right = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if left <= tick <= right]
    assert 1 <= len(ticks) <= 7
    assert all(tick == round(tick) and 1 <= tick <= epochs for tick in ticks)


def scatter_of(count: int, labels=None) -> Figure:
    return plots.latent_scatter(np.random.default_rng(0).normal(size=(count, 2)), labels)


def test_latent_scatter_draws_the_points_on_the_priors_circles():
    codes = np.random.default_rng(0).normal(size=(30, 2))
    figure = plots.latent_scatter(codes)
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), codes)
    circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
    assert [circle.radius for circle in circles] == [1.0, 2.0]
    assert [tuple(circle.center) for circle in circles] == [(0, 0), (0, 0)]
    assert texts(axes.texts) == ["1σ", "2σ"]
    assert axes.get_legend() is None
    assert axes.get_aspect() == 1.0
    figure.canvas.draw()
    # One unit is as long along z_1 as along z_2, and the 2σ circle is in view.
    x, y = np.diff(axes.transData.transform([(0, 0), (1, 1)]), axis=0)[0]
    assert x == pytest.approx(y, rel=1e-6)
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert low < -2
        assert high > 2


@pytest.mark.parametrize("classes", [1, 10, 11, 20])
def test_latent_scatter_gives_each_class_a_colour_and_a_name(classes):
    labels = 3 * (np.arange(60) % classes) - 2
    (axes,) = scatter_of(60, labels).axes
    assert texts(axes.get_legend().get_texts()) == [str(3 * k - 2) for k in range(classes)]
    colours = [to_hex(line.get_color()) for line in axes.get_legend().get_lines()]
    assert len(set(colours)) == classes
    drawn = [to_hex(colour) for colour in axes.collections[0].get_facecolors()]
    assert drawn == [colours[i % classes] for i in range(60)]


@pytest.mark.parametrize("labels", [np.linspace(0.0, 5.0, 60), np.arange(60)])
def test_latent_scatter_gives_values_a_colour_bar(labels):
    axes, bar = scatter_of(60, labels).axes
    assert axes.get_legend() is None
    np.testing.assert_array_equal(axes.collections[0].get_array(), labels)
    assert bar.get_ylim() == (labels.min(), labels.max())


def test_latent_scatter_takes_booleans_as_classes():
    (axes,) = scatter_of(6, [True, False] * 3).axes
    assert texts(axes.get_legend().get_texts()) == ["False", "True"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plots.training_curves([1.0]), TypeError, "`history` must map .*Received: list"),
        (lambda: plots.training_curves({"acc": [1.0]}), ValueError, r"Received: \['acc'\]"),
        (lambda: plots.training_curves({"loss": []}), ValueError, r"shapes {'loss': \(0,\)}"),
        (
            lambda: plots.training_curves({"loss": [1.0, 2.0], "val_loss": [1.0]}),
            ValueError,
            r"one length.*shapes {'loss': \(2,\), 'val_loss': \(1,\)}",
        ),
        (lambda: plots.training_curves({"loss": ["a"]}), TypeError, r"history\['loss'\].*dtype"),
        (lambda: plots.latent_scatter(np.zeros((4, 3))), ValueError, r"\[N, 2\].*shape \(4, 3\)"),
        (lambda: plots.latent_scatter(CODES[:0]), ValueError, r"shape \(0, 2\)"),
        (lambda: plots.latent_scatter(CODES + np.inf), ValueError, "Received: 8 of 8 values"),
        (lambda: plots.latent_scatter(CODES, [1, 2]), ValueError, r"N = 4.*shape \(2,\)"),
        (lambda: plots.latent_scatter(CODES, list("abcd")), TypeError, "`labels` .*dtype"),
        (lambda: plots.latent_scatter(CODES, [0.0, 1, 2, np.nan]), ValueError, "1 of 4 values"),
    ],
)
def test_unusable_input_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "Received: " in str(caught.value)
