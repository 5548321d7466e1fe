"""What the accountant is asked about: a sampler and a mechanism, reduced to numbers.

A sampling (`privacy.sampling`) makes one of these for a plan and a neighbouring
relation; `accounting.epsilon` turns it into an epsilon. Every noise is stated over the
sensitivity that the plan derived, so that no accountant has to know a relation.
"""

import dataclasses
from typing import Union

from dp_fedemb import validate

# Kind of a sampled round -> P and Q, one-dimensional, for one of its neighbouring pairs.
# N(x) is the Gaussian of mean x and standard deviation `ratio`, q the probability. All of
# them hold for both orders of the pair.
KINDS = {
    'add_or_remove': '(1 - q) N(0) + q N(1) against N(0)',
    'replaced': '(1 - q) N(0) + q N(1) against (1 - q) N(0) + q N(-1)',
    'without_replacement': 'at most q H_a(N(1) || N(0)) at 1 + q (a - 1), for every a >= 1',
}


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """All rounds together are one Gaussian mechanism: nothing is amplified.

    Attributes:
        ratio: standard deviation of the noise over the L2 sensitivity, above 0.
    """

    ratio: float

    def __post_init__(self) -> None:
        validate.positive(ratio=self.ratio)


@dataclasses.dataclass(frozen=True)
class SampledGaussian:
    """Rounds that sample, independent of one another, each a Gaussian mechanism.

    Attributes:
        kind: one of `KINDS`.
        ratio: standard deviation of the noise over the distance by which a unit that is
            sampled moves the sum from where it is without the unit. For `replaced`,
            whose two data sets move it in opposite directions, over one of the two: a
            plain Gaussian of the same kind would have half this ratio.
        probability: q, in (0, 1].
        rounds: how many, at least 0.
    """

    kind: str
    ratio: float
    probability: float
    rounds: int

    def __post_init__(self) -> None:
        validate.one_of('kind', self.kind, KINDS)
        validate.positive(ratio=self.ratio, probability=self.probability)
        validate.probability(probability=self.probability)
        validate.non_negative(rounds=self.rounds)


Analysis = Union[Gaussian, SampledGaussian]
