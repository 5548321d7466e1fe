"""The private run: a plan and the secret seed, one object that draws everything.

Whoever samples by one plan or seed and noises by another has no guarantee. So the
cohort, the noise, the heads and the weights of a run all come from here.
"""

import numbers
from typing import Any, NoReturn, Optional

import numpy as np

from dp_fedemb import randomness
from dp_fedemb import validate
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import sampling
from dp_fedemb.privacy.reporting import statement as statement_lib

# A seed below 2 to this power is found by trying; one of the operating system is not,
# but for one in 2^64.
LEAST_SEED_BITS = 64


class PrivateRun:
    """Hands out a run's cohorts and keys; the seed is in no text of it.

    Frozen, and a function of plan, seed and round: a run that goes on after a crash
    gets the same as one that was never interrupted.

    >>> from dp_fedemb import privacy
    >>> plan = privacy.PrivacyPlan(
    ...     num_users=40, virtual_clients_per_round=2, users_per_virtual_client=2,
    ...     rounds=3, mechanism=privacy.Gaussian(clip_norm=1.0, noise_multiplier=2.0))
    >>> run = PrivateRun.start(plan)
    >>> run.cohort(0).whole_groups, run.head_keys(0, count=2).shape, len(run.noise_key(0))
    (True, (2, 2), 32)
    """

    __slots__ = ('_participation', '_plan', '_secret_seed')
    _plan: plan_lib.PrivacyPlan
    _secret_seed: int
    # What `observed` has measured so far; follows from the others.
    _participation: Optional[sampling.Participation]

    def __init__(self, plan: plan_lib.PrivacyPlan, secret_seed: int) -> None:
        """Makes the run of a known seed; `start` draws one.

        Args:
            plan: what is sampled, clipped and noised.
            secret_seed: an integer of at least 0.

        Raises:
            ValueError: for another seed; the message does not name it.
        """
        if not isinstance(secret_seed, numbers.Integral) or secret_seed < 0:
            raise ValueError(
                'secret_seed: expected an integer of at least 0; leave it out to get one from'
                ' the operating system'
            )
        object.__setattr__(self, '_plan', plan)
        object.__setattr__(self, '_secret_seed', int(secret_seed))
        object.__setattr__(self, '_participation', None)

    @classmethod
    def start(
        cls, plan: plan_lib.PrivacyPlan, secret_seed: Optional[int] = None
    ) -> 'PrivateRun':
        """Returns the run of a seed; by default of a new one from the operating system."""
        if secret_seed is None:
            secret_seed = randomness.new_secret_seed()
        return cls(plan, secret_seed)

    @property
    def plan(self) -> plan_lib.PrivacyPlan:
        """What is sampled, clipped and noised."""
        return self._plan

    @property
    def secret_seed(self) -> int:
        """The seed, for checkpoints (mode 0600) alone."""
        return self._secret_seed

    @property
    def weak_seed(self) -> bool:
        """Whether the seed has so few bits that it can be found by trying."""
        return self._secret_seed < 2**LEAST_SEED_BITS

    @property
    def weights_seed(self) -> int:
        """Seed of fresh weights: as secret as the run's."""
        return self._secret_seed

    def cohort(self, round_num: int) -> sampling.Cohort:
        """Returns who takes part in a round, from 0, and in which virtual client."""
        return self.plan.sampling.cohort(self.plan.population, self._secret_seed, round_num)

    def head_keys(self, round_num: int, count: int) -> np.ndarray:
        """Returns int64 [count, 2], a key per virtual client for its head and its order."""
        generator = randomness.generator(self._secret_seed, 'virtual_clients', round_num)
        int64 = np.iinfo(np.int64)
        return generator.integers(int64.min, int64.max, size=(count, 2))

    def noise_key(self, *indices: int) -> bytes:
        """Returns 32 bytes, the key of one draw of noise outside of a graph.

        Args:
            *indices: what the draw is for: round and attempt, or a tree's node. Each
                may be used for one draw only.
        """
        return randomness.key(self._secret_seed, 'noise/key', *indices)

    def tf_noise_key(self) -> np.ndarray:
        """Returns int64 [2], the key of all noise that is drawn inside a graph."""
        return randomness.tf_seed(self._secret_seed, 'noise')

    def observed(self, rounds: int) -> sampling.Observed:
        """Draws the cohorts of the first rounds and measures participation.

        Those of earlier rounds that were measured by the last call are not drawn again.
        """
        validate.non_negative(rounds=rounds)
        seen = self._participation
        if seen is None or seen.rounds > rounds:
            seen = sampling.Participation(self.plan.num_users)
            object.__setattr__(self, '_participation', seen)
        while seen.rounds < rounds:
            seen.add(self.cohort(seen.rounds))
        return seen.observed

    def statement(self, rounds_completed: int, **facts: Any) -> dict[str, Any]:
        """Returns the privacy statement of the rounds released so far.

        Args:
            rounds_completed: their number. Under a schedule, participation is measured on
                the run's own cohorts and held against what was accounted.
            **facts: see `privacy.statement`.
        """
        facts = {'weak_seed': self.weak_seed, **facts}
        if hasattr(self.plan.sampling, 'participation') and 'observed' not in facts:
            facts['observed'] = self.observed(rounds_completed)
        return statement_lib.statement(self.plan, rounds_completed, **facts)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f'{name}: a PrivateRun does not change; start another one')

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f'{name}: a PrivateRun does not change; start another one')

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            'a PrivateRun holds the secret seed and is not pickled; pass on its plan, or the'
            ' keys that are needed'
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PrivateRun):
            return NotImplemented
        return (self._plan, self._secret_seed) == (other._plan, other._secret_seed)

    def __hash__(self) -> int:
        return hash((self._plan, self._secret_seed))

    def __repr__(self) -> str:
        return f'PrivateRun(plan={self.plan!r}, secret_seed=<hidden>)'
