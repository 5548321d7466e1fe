"""Releases of the real mechanism for sums of our own choice.

The query is built as a run builds it, from a private run; the sums that go in are what
its own `preprocess_record` makes of records.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import sum_query

# Norm of a canary's record before it is clipped, in units of C.
OVERSIZE = 4.0


@dataclasses.dataclass(frozen=True)
class Layout:
    """Shapes of the records: layers of very different sizes, as networks have them.

    Attributes:
        coordinates: d, of a record.
    """

    coordinates: int

    def __post_init__(self) -> None:
        if self.coordinates < 64:
            raise ValueError(f'coordinates={self.coordinates}: expected at least 64')

    @property
    def sizes(self) -> tuple[int, ...]:
        """Coordinates of each layer."""
        small, middle = self.coordinates // 32, self.coordinates // 4
        return (self.coordinates - middle - small, small, middle)

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """Of the tensors of one record."""
        return [tf.TensorSpec([size]) for size in self.sizes]

    def layers(self, values: np.ndarray) -> list[np.ndarray]:
        """Cuts [..., d] into layers."""
        return np.split(values, np.cumsum(self.sizes)[:-1], axis=-1)


class BlackBox:
    """One run's mechanism; every call of `release` is its next round.

    Attributes:
        plan: of the run.
        specs: of the tensors of one record.
    """

    def __init__(self, run: privacy.PrivateRun, specs: Sequence[tf.TensorSpec]) -> None:
        """Builds the query.

        Args:
            run: plan and seed.
            specs: of the tensors of one record.

        Raises:
            ValueError: for a plan whose mechanism adds no noise.
        """
        if not run.plan.private:
            raise ValueError(
                f'mechanism={run.plan.mechanism.name}: adds no noise, so there is none to'
                ' audit; choose gaussian or another private mechanism'
            )
        self.plan = run.plan
        self.specs = list(specs)
        self._query: sum_query.MeanQuery = aggregation.build_query(run, self.specs)
        self._zero = self._query.initial_sample_state(self.specs)
        self._state = self._query.initial_global_state()

    @property
    def clip_norm(self) -> float:
        """C of the coming round, which is public."""
        return float(self._state.numerator_state.clip_norm)

    def clipped(self, record: Sequence[np.ndarray]) -> np.ndarray:
        """Returns what of a record enters the sum, int64 [d] in grid units."""
        params = self._query.derive_sample_params(self._state)
        leaves = [tf.constant(part, tf.float32) for part in record]
        return self._update(self._query.preprocess_record(params, leaves))

    def unit(self) -> int:
        """Returns what a record of one coordinate, too large by far, becomes."""
        record = [np.zeros(spec.shape, np.float32) for spec in self.specs]
        record[0][0] = OVERSIZE * self.clip_norm
        return int(self.clipped(record)[0])

    def release(
        self, total: Optional[np.ndarray] = None, attempt: int = 0
    ) -> tuple[np.ndarray, list[tuple[int, ...]]]:
        """Runs a round.

        Args:
            total: int64 [d], sum of the round's records in grid units; zero by default.
            attempt: of the round.

        Returns:
            What is released, float64 [d], multiplied by the public m and over C; and the
            shapes that it came in.
        """
        clip_norm = self.clip_norm
        sample = self._zero
        if total is not None:
            leaves = tf.nest.flatten(sample)
            ends = np.cumsum([spec.shape.num_elements() for spec in self.specs])[:-1]
            for index, part in enumerate(np.split(total, ends)):
                leaves[index] = tf.reshape(tf.constant(part, tf.int64), leaves[index].shape)
            sample = tf.nest.pack_sequence_as(sample, leaves)
        state = self._query.with_attempt(self._state, attempt)
        result, self._state, _ = self._query.get_noised_result(sample, state)
        parts = [np.asarray(leaf, np.float64) for leaf in tf.nest.flatten(result)]
        scale = self.plan.virtual_clients_per_round / clip_norm
        return (
            np.concatenate([part.ravel() for part in parts]) * scale,
            [part.shape for part in parts],
        )

    def _update(self, sample: Any) -> np.ndarray:
        """The update of a sample state, which a mechanism may carry other sums beside."""
        leaves = tf.nest.flatten(sample)[: len(self.specs)]
        return np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])


def first_stddev(plan: privacy.PrivacyPlan) -> float:
    """Returns the claimed standard deviation of the first round's noise, over C.

    The same for all mechanisms: a tree's first round is one leaf, and the first row of
    C^-1 is (1, 0, 0, ...).
    """
    stddev = plan.noise_stddev / plan.mechanism.clip_norm
    if not math.isfinite(stddev):
        raise ValueError(f'plan {plan}: no finite noise')
    return stddev
