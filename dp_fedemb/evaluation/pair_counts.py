"""How many pairs are at or above a similarity, and what follows for all thresholds."""

from collections.abc import Sequence
from typing import Optional

import numpy as np

from dp_fedemb.evaluation import all_pairs


class PairCounts:
    """Histograms of similarities by bin, and by step in some bins."""

    def __init__(self, genuine: np.ndarray, impostor: np.ndarray) -> None:
        """Counts the pairs above each bin.

        Args:
            genuine: int64 [bins] histogram of genuine pairs, see `PairScores.histograms`.
            impostor: the same of impostor pairs.
        """
        self._genuine, self._impostor = genuine, impostor
        self._steps: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        # Pairs in the bins above each one.
        self._genuine_above = np.cumsum(genuine[::-1])[::-1] - genuine
        self._impostor_above = np.cumsum(impostor[::-1])[::-1] - impostor
        self.genuine_pairs = int(genuine.sum())
        self.impostor_pairs = int(impostor.sum())

    def impostor_bin(self, above: int) -> int:
        """The bin of the most similar impostor pair but `above`."""
        return int(np.nonzero(self._impostor_above <= above)[0][0])

    def crossing_bin(self) -> Optional[int]:
        """The bin at whose lower edge FAR is still above FRR, and not at its upper."""
        if not self.genuine_pairs or not self.impostor_pairs:
            return None
        far = (self._impostor_above + self._impostor) / self.impostor_pairs
        frr = 1 - (self._genuine_above + self._genuine) / self.genuine_pairs
        return int(np.nonzero(far > frr)[0][-1])

    def add_steps(self, bins: Sequence[int], genuine: np.ndarray, impostor: np.ndarray) -> None:
        """Takes the counts of single steps, checked against those of the bins."""
        for index, number in enumerate(bins):
            whole = self._genuine[number], self._impostor[number]
            if (genuine[index].sum(), impostor[index].sum()) != whole:
                raise RuntimeError(
                    f'pairs in bin {number} changed between two passes: the matrix'
                    ' product of this machine does not repeat itself; please report it'
                )
            self._steps[number] = genuine[index], impostor[index]

    def _at_least(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Genuine and impostor pairs at or above each step 0..BIN_STEPS of a bin."""
        genuine, impostor = self._steps[number]
        return (
            self._genuine_above[number] + np.append(np.cumsum(genuine[::-1])[::-1], 0),
            self._impostor_above[number] + np.append(np.cumsum(impostor[::-1])[::-1], 0),
        )

    def most_accepted(self, number: int, allowed: int) -> tuple[float, tuple[int, int]]:
        """Returns the least threshold that accepts at most `allowed` impostor pairs.

        Args:
            number: the bin that it is in.
            allowed: impostor pairs.

        Returns:
            The threshold, and the genuine and impostor pairs that it accepts.
        """
        genuine, impostor = self._at_least(number)
        step = int(np.nonzero(impostor <= allowed)[0][0])
        accepted = int(genuine[step]), int(impostor[step])
        return float(all_pairs.similarity(number, step)), accepted

    def area(self) -> tuple[float, float]:
        """Returns the area under the ROC curve, and what it may be off by."""
        if not self.genuine_pairs or not self.impostor_pairs:
            return np.nan, np.nan
        g = self._genuine / self.genuine_pairs
        i = self._impostor / self.impostor_pairs
        above = self._genuine_above / self.genuine_pairs
        tied = np.dot(i, g) / 2
        return float(np.dot(i, above) + tied), float(tied)

    def equal_error(self, number: Optional[int]) -> tuple[float, float]:
        """Returns the equal error rate and its threshold, which are in bin `number`."""
        if number is None:
            return np.nan, np.nan
        genuine, impostor = self._at_least(number)
        worse = np.maximum(impostor / self.impostor_pairs, 1 - genuine / self.genuine_pairs)
        step = int(np.argmin(worse))
        return float(worse[step]), float(all_pairs.similarity(number, step))
