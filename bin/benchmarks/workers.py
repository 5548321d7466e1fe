"""Two remote workers with one core each over one local worker with two cores."""

import measuring

measuring.single_threaded_operations()

import contextlib

import tensorflow_federated as tff
import workloads

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import runtime
from dp_fedemb.engines import worker_process

WORKERS = 2


def main():
    repetitions = 3 if measuring.quick() else 7
    model = workloads.lenet()
    # The rounds of `throughput_vs_limit`.
    store = workloads.random_store(1000, 80)
    plan = workloads.build_plan(store, 16, 8)
    with contextlib.ExitStack() as stack:
        # What bin/worker.py serves: a worker process on a port, here of this host.
        remote = stack.enter_context(
            remote_engine.RemoteRuntime([_serve(stack) for _ in range(WORKERS)])
        )
        local_runtime = stack.enter_context(runtime.LocalRuntime(WORKERS))
        engine = remote_engine.RemoteEngine(
            remote,
            model,
            workloads.config(),
            store,
            query=aggregation.build_query(
                privacy.PrivateRun(plan, workloads.SEED), model.record_specs()
            ),
            server_optimizer=tff.learning.optimizers.build_sgdm(1.0, 0.9),
        )
        rates = measuring.interleaved(
            {
                'remote': workloads.Rounds(engine, plan, store, model),
                'local': workloads.rounds(model, store, 16, 8, local_runtime),
            },
            repetitions,
        )
    measuring.report({'workers2_ratio': measuring.ratio(rates, 'remote', 'local')})


def _serve(stack):
    """Returns the address of a new worker with one core."""
    worker = worker_process.WorkerProcess(1)
    stack.callback(worker.stop)
    worker.wait_until_listening(60)
    return f'localhost:{worker.port}'


if __name__ == '__main__':
    main()
