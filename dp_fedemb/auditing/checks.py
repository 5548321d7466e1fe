"""Named checks: a property that correct code has, and how likely what was seen is then."""

import dataclasses
import math
from typing import Any

from scipy import stats

# A check fails below it: an audit makes dozens, and is repeated.
LEVEL = 1e-6


@dataclasses.dataclass(frozen=True)
class Check:
    """One property.

    Attributes:
        name: of the property, as correct code has it.
        p_value: probability on correct code of something at least as odd as what was
            seen; 0 where that is impossible, 1 where nothing is odd.
        seen: what was seen, in a few words.
    """

    name: str
    p_value: float
    seen: str

    @property
    def failed(self) -> bool:
        """Whether correct code would hardly ever do so."""
        return not self.p_value >= LEVEL

    @property
    def alarm(self) -> str:
        """A line that says what failed."""
        return f'{self.name}: {self.seen} (p = {self.p_value:.1e})'

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {**dataclasses.asdict(self), 'failed': self.failed}


def holds(name: str, condition: bool, seen: str) -> Check:
    """Returns the check of something that correct code never breaks."""
    return Check(name, 1.0 if condition else 0.0, seen)


def normal(name: str, deviations: float, tries: int, seen: str) -> Check:
    """Returns the check of the largest of so many standard normals, either sign."""
    p_value = 2 * float(stats.norm.sf(abs(deviations))) * tries
    return Check(name, 0.0 if math.isnan(deviations) else min(p_value, 1.0), seen)


def count(name: str, seen: int, tries: int, probability: float, unit: str) -> Check:
    """Returns the check of a number of independent events of one probability."""
    p_value = stats.binomtest(seen, tries, probability).pvalue
    expected = tries * probability
    return Check(name, float(p_value), f'{seen:,} {unit}, {expected:,.1f} expected')
