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
    store = workloads.random_store(256, 16, SHAPE)
    limit = workloads.PlainLoop(model, 2, cores)
    with runtime.LocalRuntime(cores), measuring.PeakMemory() as memory:
        plan = workloads.build_plan(store, 64, 2)
        engine = workloads.build_engine(model, workloads.config(), plan, store, cores)
        work = workloads.Rounds(engine, plan, store, model)
        rates = measuring.interleaved(
            {'rounds': work, 'plain_loop': lambda: limit(2 * cores * 32)}, 1
        )
    result = measuring.ratio(rates, 'rounds', 'plain_loop')
    result['peak_gib'] = memory.peak / 1024
    measuring.report({'resnet50': result})


if __name__ == '__main__':
    main()
