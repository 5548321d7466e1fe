"""A plan and a secret seed as one object, which everything secret of a run comes from.

Whoever samples, noises, starts heads or weights asks the run, so that no path can
sample by one plan or seed and noise by another.
"""

import dataclasses
from typing import Optional

import numpy as np

from dp_fedemb import randomness
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import sampling


@dataclasses.dataclass(frozen=True)
class PrivateRun:
    """One run of a plan: its cohorts, and the keys of its noise, heads and weights.

    Holds no state: a run that goes on at round t gets what one that was never
    interrupted gets there.

    Attributes:
        plan: what is sampled, clipped, noised and accounted.
        secret_seed: at least 0; whoever knows it can subtract the noise. Not in the
            run's `repr`.
    """

    plan: plan_lib.PrivacyPlan
    secret_seed: int = dataclasses.field(repr=False)

    def __post_init__(self):
        if not isinstance(self.secret_seed, int) or self.secret_seed < 0:
            raise ValueError('secret_seed: expected an integer of at least 0')

    @classmethod
    def start(
        cls, plan: plan_lib.PrivacyPlan, secret_seed: Optional[int] = None
    ) -> 'PrivateRun':
        """Returns a run whose seed is from the operating system unless it is given."""
        if secret_seed is None:
            secret_seed = randomness.new_secret_seed()
        return cls(plan, secret_seed)

    def cohort(self, round_num: int) -> sampling.Cohort:
        """Returns the users of a round, from 0, by virtual client."""
        plan = self.plan
        return plan.sampling.cohort(plan.population, self.secret_seed, round_num)

    def observed(self, rounds: int) -> sampling.Observed:
        """Draws the cohorts of the first `rounds` rounds and measures participation."""
        return self.plan.sampler(self.secret_seed).observed(rounds)

    def noise_key(self, *indices: int) -> bytes:
        """Returns the 32 bytes of a key for noise drawn by the driver.

        Args:
            *indices: what is drawn: the round, the attempt, a node of a tree and the
                like; other indices, independent noise.
        """
        return randomness.key(self.secret_seed, 'noise', *indices)

    def tf_noise_key(self) -> np.ndarray:
        """Returns int64 [2], the key for noise drawn inside a TensorFlow graph."""
        return randomness.tf_seed(self.secret_seed, 'noise')

    def head_keys(self, round_num: int, count: int) -> np.ndarray:
        """Returns int64 [count, 2], a key for each virtual client's head and batch order."""
        generator = randomness.generator(self.secret_seed, 'virtual_clients', round_num)
        int64 = np.iinfo(np.int64)
        return generator.integers(int64.min, int64.max, size=(count, 2))

    @property
    def weights_seed(self) -> int:
        """Seed of the weights before training (`EmbeddingModel.initial_weights`)."""
        return self.secret_seed
