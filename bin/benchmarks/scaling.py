"""How the seconds of a round grow; a table for docs/performance.md, not a target.

python bin/benchmarks/scaling.py
"""

import measuring

measuring.single_threaded_operations()

import statistics
import time

import workloads

from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import runtime

ROUNDS = 3


def main():
    cores = measuring.cores()
    print(
        f'{"what":<44} {"weights":>9} {"examples":>8} {"round s":>8} {"empty s":>8}'
        f' {"sample s":>8}'
    )
    with runtime.LocalRuntime(cores) as local:
        store = workloads.random_store(2000, 32)
        for m in (16, 64, 256, 1024):
            _row(f'{m} virtual clients of one step', workloads.lenet(), store, m, 1, local)
        for users in (1_000, 10_000, 100_000):
            population = workloads.random_store(users, 2, (28, 28, 1))
            _row(f'population of {users:,} users', workloads.lenet(), population, 16, 16, local)
        for dim in (32, 512, 1024):
            model = models.build_embedding_model('lenet', (28, 28, 1), dim)
            _row(f'embeddings of {dim}', model, store, 16, 1, local)
        for side in (14, 56):
            shape = (side, side, 1)
            model = models.build_embedding_model('lenet', shape, 128)
            pictures = workloads.random_store(200, 32, shape)
            _row(f'images of {side}x{side}', model, pictures, 16, 1, local)


def _row(what, model, store, m, k, local):
    plan = workloads.build_plan(store, m, k)
    engine = workloads.build_engine(model, workloads.config(), plan, store, local)
    work = workloads.Rounds(engine, plan, store, model)
    work()
    state = engine.send(engine.initialize())
    empty = [virtual_clients.empty_shard()] * engine.num_shards
    engine.next(state, empty)
    rows = []
    for number in range(ROUNDS):
        start = time.perf_counter()
        examples = work()
        whole = time.perf_counter() - start
        engine.next(state, empty)
        fixed = time.perf_counter() - start - whole
        start = time.perf_counter()
        run = privacy.PrivateRun(plan, workloads.SEED)
        virtual_clients.assemble(store, run, number, engine.num_shards)
        rows.append((examples, whole, fixed, time.perf_counter() - start))
    examples, whole, fixed, sampling = map(statistics.median, zip(*rows))
    print(
        f'{what:<44} {model.weight_counts().noised:>9,} {examples:>8.0f} {whole:>8.3f}'
        f' {fixed:>8.3f} {sampling:>8.4f}',
        flush=True,
    )


if __name__ == '__main__':
    main()
