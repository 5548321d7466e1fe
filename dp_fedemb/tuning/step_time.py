"""How long a local step takes here, and the memory it needs, measured on drawn pixels.

`python -m dp_fedemb.tuning.step_time` reads JSON from standard input and answers with JSON;
in a process of its own, so that the memory is that of the steps and TensorFlow alone.
"""

import collections
import dataclasses
import json
import resource
import subprocess
import sys
import time
from typing import Any

from dp_fedemb import host_error
from dp_fedemb import last_words

# Steps of a measurement; the first ones, which trace the graph, are another call.
_STEPS = 4


@dataclasses.dataclass(frozen=True)
class Workload:
    """What a local step computes.

    Attributes:
        backbone: a key of `models.BACKBONES`.
        embedding_dim: D.
        shape: of an image.
        batch_size: images of a step.
        head: a key of `models.HEADS`.
    """

    backbone: str
    embedding_dim: int
    shape: tuple[int, ...]
    batch_size: int
    head: str = 'linear'


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one process of one thread needs.

    Attributes:
        step_seconds: of one local step.
        memory_bytes: the most that the process held.
        weights: of the backbone.
    """

    step_seconds: float
    memory_bytes: int
    weights: int


def measure(workload: Workload) -> Measured:
    """Measures in another process.

    Raises:
        ValueError: if it cannot be measured, for instance for an unknown backbone.
        HostError: if the machine has ended it.
    """
    done = subprocess.run(
        [sys.executable, '-m', 'dp_fedemb.tuning.step_time'],
        input=json.dumps(dataclasses.asdict(workload)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode < 0:
        raise host_error.HostError(
            f'backbone={workload.backbone!r}: a step, {last_words.meaning(-done.returncode)}'
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ['it said nothing']
        raise ValueError(f'backbone={workload.backbone!r}: no step could be run ({lines[-1]})')
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def hours(
    measured: Measured,
    *,
    rounds: int,
    users_per_round: int,
    examples_per_user: float,
    local_epochs: int,
    batch_size: int,
    users_per_virtual_client: int,
) -> float:
    """Returns the hours of a run's local steps on one core; evaluation is not in it."""
    of_client = examples_per_user * users_per_virtual_client
    steps = -(-of_client // batch_size) * local_epochs
    clients = users_per_round / users_per_virtual_client
    return rounds * clients * steps * measured.step_seconds / 3600


def _measure(workload: Workload) -> Measured:
    import numpy as np
    import tensorflow as tf

    from dp_fedemb import data
    from dp_fedemb import models
    from dp_fedemb.learning import client_config
    from dp_fedemb.learning import local_fine_tuning

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    spec = data.ExampleSpec(tuple(workload.shape), 'uint8')
    model = models.build_embedding_model(
        backbone=workload.backbone,
        embedding_dim=workload.embedding_dim,
        head=workload.head,
        example_spec=spec,
    )
    config = client_config.ClientConfig(batch_size=workload.batch_size, momentum=0.9)
    training = local_fine_tuning.LocalFineTuning(model, config)
    theta = [tf.constant(weight) for weight in model.initial_weights(0)[0]]
    generator = np.random.default_rng(0)

    @tf.function
    def update(examples: Any, labels: Any) -> Any:
        seed = tf.zeros([2], tf.int64)
        client = collections.OrderedDict(examples=examples, labels=labels, seed=seed)
        return training.update(theta, client, tf.constant(0.01))[1]

    def batches(count: int) -> tuple[Any, Any]:
        size = count * workload.batch_size
        pixels = generator.integers(0, 256, (size, *workload.shape), np.uint8)
        return tf.constant(pixels), tf.constant(np.arange(size) % 8, tf.int32)

    one, several = batches(1), batches(1 + _STEPS)
    update(*one)
    times = []
    for given in (one, several):
        update(*given)
        began = time.perf_counter()
        float(update(*given))
        times.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    weights = sum(int(np.prod(weight.shape)) for weight in theta)
    return Measured(max(times[1] - times[0], 1e-6) / _STEPS, peak, weights)


if __name__ == '__main__':
    print(json.dumps(dataclasses.asdict(_measure(Workload(**json.load(sys.stdin))))))
