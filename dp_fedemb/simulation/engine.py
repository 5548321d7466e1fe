"""Rounds through TFF, with the interface that the in-process engine has too."""

from typing import Any

import tensorflow_federated as tff


class TffEngine:
    """A `build_dp_fedemb` process whose clients read their images in the graph.

    Runs in TFF's current context, for instance inside `runtime.LocalRuntime`. Only
    descriptors (row numbers, labels, seeds) go from driver to worker.
    """

    def __init__(self, process: tff.learning.templates.LearningProcess, num_shards: int):
        """Wraps a process.

        Args:
            process: built with `query`, so that a client is a shard, and with `reader`.
            num_shards: shards per round; one per core keeps all cores busy.
        """
        self.num_shards = num_shards
        self._process = process

    def initialize(self) -> Any:
        """Returns the state before the first round, NumPy leaves."""
        return self._process.initialize()

    def set_model_weights(self, state: Any, weights: tff.learning.models.ModelWeights) -> Any:
        """Returns the state with other weights."""
        return self._process.set_model_weights(state, weights)

    def next(self, state: Any, shards: list) -> tff.learning.templates.LearningProcessOutput:
        """Runs one round; see `InProcessEngine.next`."""
        return self._process.next(state, shards)
