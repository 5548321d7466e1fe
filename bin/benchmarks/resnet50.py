"""ResNet-50 at 112x112: throughput against the plain loop, and peak memory."""

import measuring

measuring.single_threaded_operations()

from dp_fedemb import models
from dp_fedemb.simulation import runtime
import workloads

SHAPE = (112, 112, 3)


def main():
    cores = measuring.cores()
    model = models.build_embedding_model('resnet50', SHAPE, 512)
    store = workloads.random_store(256, 32, SHAPE)
    limit = workloads.PlainLoop(model, 8, cores)
    with runtime.LocalRuntime(cores):
        few = _rounds(model, store, 4, cores)
        rates = measuring.interleaved(
            {'rounds': few, 'plain_loop': lambda: limit(4 * 32)}, 2 if measuring.quick() else 5
        )
    result = measuring.ratio(rates, 'rounds', 'plain_loop')
    if not measuring.quick():
        with runtime.LocalRuntime(cores), measuring.PeakMemory() as memory:
            many = _rounds(model, store, 64, cores)
            many()
        result['peak_gib_of_64_clients'] = memory.peak / 1024
    measuring.report({'resnet50': result})


def _rounds(model, store, m, cores):
    """Virtual clients of one user with one batch each."""
    plan = workloads.build_plan(store, m, 1)
    engine = workloads.build_engine(model, workloads.config(), plan, store, cores)
    return workloads.Rounds(engine, plan, store, model)


if __name__ == '__main__':
    main()
