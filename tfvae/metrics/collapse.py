"""Posterior collapse: the decoder does without the code. When it is that, and what to try."""

from __future__ import annotations

from tfvae.metrics.diagnostics import Diagnostics

LEAST_RATE = 0.1
"""In nats an example. The code cannot say more of the data than its rate: here, almost nothing."""


def advice(found: Diagnostics, min_active_units: int = 1) -> str | None:
    """Says that the posterior has collapsed, and what to try, or `None` if it has not.

    It has collapsed if the rate, or what of it is information on the data, is below 0.1 nats: the
    decoder does without the code. Fewer active dimensions than should be are said too; where codes
    are small, as on a sphere or under a narrow prior, the threshold of `diagnose` must be.

    Args:
        found: what `diagnose` returned.
        min_active_units: the fewest active dimensions that will do.

    Example:
        >>> zeros = np.zeros(2)
        >>> used = Diagnostics(2.0, 5.0, 1.9, zeros + 0.8, zeros + 1.0, 0.01, 100)
        >>> unused = Diagnostics(0.0, 7.0, 0.0, zeros, zeros, 0.01, 100)
        >>> advice(used), advice(unused)[:31]
        (None, 'The posterior has collapsed: 0 ')

    Reference:
        Bowman, Vilnis, Vinyals, Dai, Jozefowicz and Bengio (2016), Generating Sentences from a
        Continuous Space, arXiv:1511.06349, for the warm-up and the weaker decoder.
        Lucas, Tucker, Grosse and Norouzi (2019), Don't Blame the ELBO! A Linear VAE Perspective on
        Posterior Collapse, arXiv:1911.02469, for the likelihood's scale.
    """
    if found.active_units >= min_active_units and found.rate >= LEAST_RATE:
        return None
    # Codes may cost something and yet be the same for all data.
    idle = min(found.rate, found.mutual_information) < LEAST_RATE
    what = "The posterior has collapsed" if idle else "Few dimensions are active"
    return (
        f"{what}: {found.active_units} of {len(found.activity)} latent dimensions vary by more "
        f"than {found.threshold:g}, and the rate is {found.rate:.3g} nats an example. "
        "Try, one at a time: a divergence that comes in slowly, "
        "`VAE(beta=tfvae.schedules.LinearWarmup(num_steps))` or `tfvae.schedules.Cyclical`; its "
        "first nats free, `VAE(regularizer=tfvae.regularizers.FreeBits(prior, nats=0.1))`, or "
        "a given amount of it, `tfvae.regularizers.Capacity`; a `beta` below 1; a weaker decoder, "
        "with fewer or smaller layers and no autoregression; for a normal likelihood a scale that "
        "is learned, `scale='shared'`, or smaller. "
        f"Received: {found.active_units} active dimensions, at least {min_active_units} expected; "
        f"rate {found.rate:.3g} nats, at least {LEAST_RATE} expected"
    )
