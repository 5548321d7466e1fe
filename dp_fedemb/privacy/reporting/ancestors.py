"""Private models that a run started from, and what they add to its guarantee.

A model that starts from a private one has seen the users of both. Nobody knows here who is
in both data sets, so the sum (basic composition) is what the headline states.
"""

from collections.abc import Iterable
import dataclasses
import math
from typing import Any, Optional

UNIT = 'user'


@dataclasses.dataclass(frozen=True)
class Ancestor:
    """One run that weights have gone through before this one.

    Attributes:
        data: whose data it saw, in words.
        epsilon: of a user of these; None if it is not known, or infinite.
        delta: with it.
        unit: what epsilon is about; anything but `user` counts as not known.
    """

    data: str
    epsilon: Optional[float]
    delta: Optional[float]
    unit: str = UNIT

    @property
    def private(self) -> bool:
        """Whether it has a guarantee for users that can be added up."""
        finite = self.epsilon is not None and math.isfinite(self.epsilon)
        return finite and self.delta is not None and self.unit.split(':')[0] == UNIT


def of_start(statement: Optional[dict[str, Any]], data: str) -> list[Ancestor]:
    """Returns the ancestors of a run that starts from a model with this statement.

    Args:
        statement: `privacy.json` of the run that made the model; None if there is none,
            which is an ancestor of unknown epsilon.
        data: whose data that run saw, in words.
    """
    if statement is None:
        return [Ancestor(data, None, None)]
    earlier = [Ancestor(**fields) for fields in statement.get('ancestors') or ()]
    own = statement.get('epsilon_user') if _has_own_guarantee(statement) else None
    unit = str(statement.get('unit') or UNIT)
    return [*earlier, Ancestor(data, own, statement.get('delta'), unit)]


def _has_own_guarantee(statement: dict[str, Any]) -> bool:
    # Statements from before ancestors were named have one answer for both.
    return bool(statement.get('private_by_itself', statement.get('private')))


def added(
    epsilon: float, delta: float, ancestors: Iterable[Ancestor]
) -> Optional[tuple[float, float]]:
    """Returns (epsilon, delta) of a run with its ancestors; None if one has no guarantee."""
    ancestors = list(ancestors)
    if not all(ancestor.private for ancestor in ancestors):
        return None
    return (
        math.fsum([epsilon, *(a.epsilon or 0.0 for a in ancestors)]),
        math.fsum([delta, *(a.delta or 0.0 for a in ancestors)]),
    )
