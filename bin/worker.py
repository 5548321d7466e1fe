#!/usr/bin/env python3
"""Serves this host's cores to a driver on another machine, until it is stopped.

    bin/worker.py --port=8470 --cores=8

The driver is `bin/train.py --workers=host:port,...`. The port is open on every interface
and runs what it is sent: see docs/workers.md before you open it to a network.
"""

import time

from absl import flags

from flags import program

FLAGS = flags.FLAGS

flags.DEFINE_integer(
    'port',
    8470,
    'TCP port, on every interface of this host.',
    lower_bound=1,
    upper_bound=65535,
)
flags.DEFINE_integer(
    'cores',
    None,
    'Shards run at the same time; all cores by default.',
    lower_bound=1,
    upper_bound=1024,
)
flags.DEFINE_integer(
    'intra_op_threads', 1, 'Threads inside one operation.', lower_bound=1, upper_bound=1024
)
flags.DEFINE_float(
    'timeout_s',
    60.0,
    'How long the worker may take to start.',
    lower_bound=0.1,
    upper_bound=86400.0,
)

_POLL_S = 0.2


def main(_):
    from dp_fedemb import environment
    from dp_fedemb.engines import worker_process
    from dp_fedemb.runs import signals

    cores = environment.usable_cores() if FLAGS.cores is None else FLAGS.cores
    try:
        with signals.end_cleanly():
            worker = worker_process.WorkerProcess(cores, FLAGS.intra_op_threads, FLAGS.port)
            try:
                worker.wait_until_listening(FLAGS.timeout_s)
                print(
                    f'worker of TFF {worker_process.tff_version()} is ready: port'
                    f' {worker.port}, {cores} cores, process {worker.pid}',
                    flush=True,
                )
                while True:
                    worker.check_alive()
                    time.sleep(_POLL_S)
            finally:
                worker.stop()
    except signals.Stopped as stopped:
        # Being stopped is how a worker ends well.
        print(stopped, flush=True)


if __name__ == '__main__':
    program.run(main)
