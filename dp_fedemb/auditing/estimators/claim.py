"""What is put to the test: the accountant's statement, and the same with other noise."""

from collections.abc import Callable
import dataclasses
import math
from typing import Optional

from dp_fedemb import privacy
from dp_fedemb.auditing.estimators import trade_off
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis as analysis_lib

# Noise of the family of claims that a lower bound is sought in, over the claimed noise:
# powers of 2^(1 / _STEPS).
_STEPS = 48
_MOST = 8 * _STEPS
# Epsilons above it are as good as no privacy.
MOST_EPSILON = 500.0


@dataclasses.dataclass(frozen=True)
class Claim:
    """A guarantee with all its epsilons and deltas, one of a family.

    The family is the same mechanism and sampling with other noise. Its members' curves
    lie below one another, so that where the claim is true no member with more noise is
    refuted, but by chance.

    Attributes:
        analysis: of the accountant.
        delta: at which epsilons are stated.
        private: False for a family without a claim: of a run without noise, whose
            epsilon is infinite.
    """

    analysis: analysis_lib.Analysis
    delta: float
    private: bool = True

    @classmethod
    def of_plan(
        cls, plan: privacy.PrivacyPlan, rounds: Optional[int] = None, unit: str = 'user'
    ) -> 'Claim':
        """Returns what a plan claims after some rounds, all by default.

        Without noise in the plan, a Gaussian family that claims nothing.
        """
        analysis = plan.analysis(plan.rounds if rounds is None else rounds, unit)
        if analysis is None or plan.hypothetical:
            return cls(analysis_lib.Gaussian(1.0), plan.guarantee_delta, private=False)
        return cls(analysis, plan.guarantee_delta)

    @property
    def epsilon(self) -> float:
        """Epsilon at `delta`; infinite for no claim."""
        return accounting.epsilon(self.analysis, self.delta) if self.private else math.inf

    @property
    def curve(self) -> trade_off.TradeOff:
        """The claimed trade-off; only of a claim."""
        return trade_off.of_analysis(self.analysis)

    def with_noise(self, step: int) -> 'Claim':
        """Returns the member with 2^(step / 48) of the noise."""
        ratio = self.analysis.ratio * 2 ** (step / _STEPS)
        return Claim(dataclasses.replace(self.analysis, ratio=ratio), self.delta)

    def least_noise(self, refutes: Callable[[trade_off.TradeOff], bool]) -> Optional[int]:
        """Returns the step of the member with the least noise that a test refutes.

        Args:
            refutes: whether a trade-off curve is refuted by what was seen; whoever
                refutes a curve refutes all with more noise.

        Returns:
            As `with_noise` takes it; None if no member is refuted.
        """
        low, high = -_MOST, _MOST
        if not refutes(self.with_noise(high).curve):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            member = self.with_noise(middle)
            # A member without any privacy to speak of has no curve, either.
            hopeless = accounting.epsilon(member.analysis, self.delta) > MOST_EPSILON
            if not hopeless and refutes(member.curve):
                high = middle
            else:
                low = middle
        return high

    def lowest_epsilon(self, refutes: Callable[[trade_off.TradeOff], bool]) -> float:
        """Returns the greatest epsilon of a member that a test refutes, 0 for none."""
        step = self.least_noise(refutes)
        return 0.0 if step is None else self.with_noise(step).epsilon
