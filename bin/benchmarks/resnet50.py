"""ResNet-50 at 112x112: throughput against the plain loop, and peak memory."""

import measuring

measuring.single_threaded_operations()

import workloads

from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.engines import runtime

SHAPE = (112, 112, 3)


def main():
    quick = measuring.quick()
    cores = measuring.cores()
    model = models.build_embedding_model('resnet50', SHAPE, 512)
    store = workloads.random_store(256, 32, SHAPE)
    with runtime.LocalRuntime(cores) as local:
        with measuring.PeakMemory() as memory:
            _rounds(model, store, 64, local)()
        limit = workloads.PlainLoop(model, 8, cores)
        m = 8 if quick else 32
        rates = measuring.interleaved(
            {'rounds': _rounds(model, store, m, local), 'plain_loop': lambda: limit(m * 32)},
            1 if quick else 5,
        )
    result = measuring.ratio(rates, 'rounds', 'plain_loop')
    result['peak_gib'] = memory.peak / 1024
    measuring.report({'resnet50': result})


def _rounds(model, store, m, local):
    """m virtual clients of one user with one batch each.

    Always m of them: by chance, one core would often have one more of so few, and wait.
    """
    return workloads.rounds(model, store, m, 1, local, privacy.FixedSize())


if __name__ == '__main__':
    main()
