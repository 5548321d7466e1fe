"""Examples per second of whole rounds against the limit, against stock TFF, and more."""

import measuring

measuring.single_threaded_operations()

import statistics
import time

import tensorflow as tf
import tensorflow_federated as tff
import workloads

from dp_fedemb import privacy
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import runtime

IDENTITIES = (100, 100_000)


def main():
    quick = measuring.quick()
    repetitions = 2 if quick else 5
    cores = measuring.cores()
    model = workloads.lenet()
    with runtime.LocalRuntime(cores) as local:
        # As EMNIST in the paper: hundreds of images in each virtual client.
        store = workloads.random_store(1000, 80)
        limit = workloads.PlainLoop(model, 8, cores)
        # One user with one batch of images per virtual client.
        small_store = workloads.random_store(2000, 32)
        works = {
            'rounds': workloads.rounds(model, store, 16, 8, local),
            'plain_loop': lambda: limit(16 * 640),
            'small_client_rounds': workloads.rounds(model, small_store, 256, 1, local),
        }
        if not quick:
            works['stock_tff'] = StockTff(model, store, 16, 8)
            for count in IDENTITIES:
                population = workloads.random_store(
                    12_500, 8, identities_per_user=8, num_identities=count
                )
                works[f'identities_{count}'] = workloads.rounds(
                    model, population, 16, 20, local
                )
        rates = measuring.interleaved(works, repetitions)
        compare = lambda ours, theirs: measuring.ratio(rates, ours, theirs)
        results = {
            'throughput_vs_limit': compare('rounds', 'plain_loop'),
            'small_clients_vs_limit': compare('small_client_rounds', 'plain_loop'),
            'retraces_after_warmup': retraces(works['rounds']),
        }
        if not quick:
            results['throughput_vs_tff'] = compare('rounds', 'stock_tff')
            results['bfloat16_gain'] = bfloat16_gain(local, repetitions)
            results['identities_ratio'] = compare(
                *(f'identities_{count}' for count in reversed(IDENTITIES))
            )
            fewer = workloads.rounds(model, small_store, 64, 1, local)
            results['client_overhead_ms'] = client_overhead(
                fewer, works['small_client_rounds'], limit, repetitions
            )
    measuring.report(results)


def bfloat16_gain(local, repetitions):
    """Of whole rounds, with the gain that the plain loop has on the same CPU."""
    store = workloads.random_store(2000, 20)
    works = {}
    for precision in ('float32', 'bfloat16'):
        model = workloads.lenet(precision)
        limit = workloads.PlainLoop(model, 8, local.client_parallelism)
        works[precision] = workloads.rounds(model, store, 16, 8, local)
        works[f'{precision}_loop'] = lambda limit=limit: limit(16 * 160)
    rates = measuring.interleaved(works, repetitions)
    result = measuring.ratio(rates, 'bfloat16', 'float32')
    loop = measuring.ratio(rates, 'bfloat16_loop', 'float32_loop')
    return {**result, 'plain_loop_gain': loop['value']}


def client_overhead(fewer, more, limit, repetitions):
    """Wall-clock milliseconds of one more virtual client, beyond its examples.

    `fewer` and `more` are rounds of 64 and 256 virtual clients; what the plain loop
    takes for the difference in examples is taken off.
    """
    values = []
    fewer()
    for _ in range(repetitions):
        seconds, examples = [], []
        for work in (fewer, more, lambda: limit(192 * 32)):
            start = time.perf_counter()
            examples.append(work())
            seconds.append(time.perf_counter() - start)
        compute = seconds[2] / examples[2] * (examples[1] - examples[0])
        values.append(1e3 * (seconds[1] - seconds[0] - compute) / 192)
    return {'value': statistics.median(values), 'min': min(values), 'max': max(values)}


def retraces(work):
    """Graphs that the driver makes in five rounds, each by tracing or by building one."""
    made = 0
    original = tf.Graph.__init__

    def counted(graph, *arguments, **options):
        nonlocal made
        made += 1
        original(graph, *arguments, **options)

    tf.Graph.__init__ = counted
    try:
        for _ in range(5):
            work()
    finally:
        tf.Graph.__init__ = original
    return {'value': made}


class StockTff:
    """`tff.learning` DP-FedAvg on the same virtual clients, model and runtime.

    The best use of it that we know: data read in the graph, composed with the process,
    single-threaded operations and one client per core.
    """

    def __init__(self, model, store, m, k):
        plan = workloads.build_plan(store, m, k)
        self._run, self._store, self._m = privacy.PrivateRun(plan, workloads.SEED), store, m

        def batch(rows, labels):
            # Mapped in here: what a data set captures goes along by value, the whole file.
            images = tf.gather(virtual_clients.map_examples(store), rows)
            return tf.cast(images, tf.float32) / 255.0, labels

        @tff.tensorflow.computation(tff.types.tensorflow_to_type(virtual_clients.SHARD_SPEC))
        def read_client(shard):
            rows = tf.data.Dataset.from_tensor_slices((shard['rows'], shard['labels']))
            return rows.batch(32).map(batch)

        def model_fn():
            backbone = model.build_backbone()
            scores = tf.keras.layers.Dense(8)(backbone.output)
            return tff.learning.models.from_keras_model(
                tf.keras.Model(backbone.input, scores),
                loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                input_spec=(
                    tf.TensorSpec([None, *model.example_spec.shape]),
                    tf.TensorSpec([None], tf.int32),
                ),
            )

        process = tff.learning.algorithms.build_unweighted_fed_avg(
            model_fn,
            client_optimizer_fn=tff.learning.optimizers.build_sgdm(1e-3),
            server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0, 0.9),
            model_aggregator=tff.learning.dp_aggregator(0.5, m),
        )
        self._process = tff.simulation.compose_dataset_computation_with_learning_process(
            read_client, process
        )
        self._state = self._process.initialize()
        self._round = 0

    def __call__(self) -> int:
        clients = virtual_clients.assemble(self._store, self._run, self._round, self._m)
        # The stock algorithm fails on labels beyond its head, so users wrap around.
        for client in clients:
            client['labels'] = client['labels'] % 8
        self._round += 1
        self._state = self._process.next(self._state, clients).state
        return virtual_clients.num_examples(clients)


if __name__ == '__main__':
    main()
