"""How loud a round's noise is beside its signal.

The mean of a round is (sum of clipped updates + noise) / m. With d noised weights the
noise on it has an L2 norm of about z C sqrt(d) / m (root of the expected square; the
norm itself varies by a fraction of 1 / sqrt(2 d)). The signal, the mean of at most C
each, has a norm of at most C if the cohort is of the expected size. Both follow from
public settings alone, so they may be written every round.

For trees the noise is that of one node, which is what a round adds to the prefix sum
at least; a prefix of t rounds has the noise of up to log2(t) + 1 nodes.
"""

import math

from dp_fedemb import validate
from dp_fedemb.privacy import plan as plan_lib


def noise_norm(plan: plan_lib.PrivacyPlan, noised_weights: int) -> float:
    """Returns z C sqrt(d) / m, norm of the noise on a round's mean, units of weights.

    Args:
        plan: the plan; with an adaptive clip, at its initial norm.
        noised_weights: d, coordinates of the backbone that are trained.
    """
    validate.positive(noised_weights=noised_weights)
    return plan.noise_stddev * math.sqrt(noised_weights) / plan.virtual_clients_per_round


def largest(plan: plan_lib.PrivacyPlan, noised_weights: int) -> float:
    """Returns m / (z sqrt(d)): the signal-to-noise ratio if all updates agreed.

    That is, if every virtual client sent the same vector of norm C. Infinite without
    noise.
    """
    noise = noise_norm(plan, noised_weights)
    return math.inf if noise == 0 else plan.mechanism.clip_norm / noise


def required_cohort(plan: plan_lib.PrivacyPlan, noised_weights: int, target: float) -> int:
    """Returns the fewest virtual clients a round with `largest` at least `target`.

    At the plan's noise multiplier: either train with so many, or simulate the deployment
    that has them with `noise_cohort_size`.

    Raises:
        ValueError: for a plan without noise, or a target that is not above 0.
    """
    validate.positive(noised_weights=noised_weights, target=target)
    if not plan.private:
        raise ValueError(f'mechanism={plan.mechanism.name}: without noise every cohort will do')
    cohort = target * plan.mechanism.sum_noise_multiplier * math.sqrt(noised_weights)
    # Against rounding up a whole number that floats made slightly larger.
    return max(1, math.ceil(cohort * (1 - 1e-12)))
