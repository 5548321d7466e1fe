"""No metrics from the clients: what `tff.learning` would release without noise.

Its processes report the training loss and the numbers of examples and batches, sums
over users' data that no mechanism noises. They are outside every guarantee: the number
of examples of a round alone can tell whether one user took part.
"""

import collections
from collections.abc import Callable
from typing import Any

import tensorflow_federated as tff


def drop_metrics(metric_finalizers: Any) -> Callable[[tff.Value], tff.Value]:
    """A `metrics_aggregator` of `tff.learning` that leaves all metrics on the clients.

    Args:
        metric_finalizers: what would finish the sums; not used.

    Returns:
        The function from the clients' metrics to an empty structure at the server.
    """
    del metric_finalizers

    def aggregate(metrics: tff.Value) -> tff.Value:
        del metrics
        return tff.federated_eval(_nothing, tff.SERVER)

    return aggregate


@tff.tensorflow.computation
def _nothing() -> collections.OrderedDict:
    return collections.OrderedDict()
