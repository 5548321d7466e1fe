#!/usr/bin/env python3
"""Serves this host's cores to a driver on another machine, until it is stopped.

    bin/worker.py --socket=$HOME/worker.sock --cores=8
    bin/worker.py --port=8470

The driver is `bin/train.py --workers=unix:PATH,...`, or host:port. A port is open on every
interface and runs what it is sent: see docs/workers.md, also for how SSH passes a socket on.
When its last driver has left, the worker is started anew, with nothing of it.
"""

import contextlib
import functools
import os
import time

from absl import flags

from flags import from_settings
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

flags.DEFINE_string(
    'socket',
    None,
    'Instead of the port: path of a socket that only this user can connect to, made here; for'
    ' SSH to pass on, see docs/workers.md.',
)

_POLL_S = 0.2


def main(_):
    from dp_fedemb import environment
    from dp_fedemb.engines import worker_addresses
    from dp_fedemb.engines import worker_process
    from dp_fedemb.runs import signals

    if FLAGS.socket is not None:
        from_settings.refuse_unused('a worker behind a socket', 'port')
        worker_addresses.check_socket(FLAGS.socket)
    cores = environment.usable_cores() if FLAGS.cores is None else FLAGS.cores
    reason = worker_process.why_not_isolated()
    if reason is not None and FLAGS.socket is not None:
        raise ValueError(
            f'socket={FLAGS.socket!r}: this machine gives a worker no network of its own'
            f' ({reason}), so that its port would be open beside the socket; use --port, behind'
            ' a firewall'
        )
    start = functools.partial(worker_process.WorkerProcess, cores, FLAGS.intra_op_threads)
    try:
        with contextlib.ExitStack() as closing:
            if reason is None:
                listener = closing.enter_context(_listener(worker_addresses))
                start = functools.partial(start, listener=listener)
            else:
                start = functools.partial(start, FLAGS.port)
            if FLAGS.socket is None:
                print(
                    f'ATTENTION: port {FLAGS.port} is open on every interface, without a'
                    ' password: whoever reaches it can read and write files as you',
                    flush=True,
                )
            worker = _ready(start, worker_process.tff_version(), cores)
            try:
                while True:
                    worker.check_alive()
                    time.sleep(_POLL_S)
                    if reason is None and worker.driver_has_left():
                        # With all that it has sent, and a thread each.
                        worker.stop()
                        worker = _ready(start, worker_process.tff_version(), cores)
            finally:
                worker.stop()
    except signals.Stopped as stopped:
        # Being stopped is how a worker ends well.
        print(stopped, flush=True)


def _ready(start, version, cores):
    """Returns a worker that answers."""
    worker = start()
    try:
        worker.wait_until_listening(FLAGS.timeout_s)
    except BaseException:
        worker.stop()
        raise
    where = f'port {FLAGS.port}' if FLAGS.socket is None else f'unix:{FLAGS.socket}'
    print(
        f'worker of TFF {version} is ready: {where}, {cores} cores, process {worker.pid}',
        flush=True,
    )
    return worker


@contextlib.contextmanager
def _listener(worker_addresses):
    """Yields the socket that drivers come to."""
    if FLAGS.socket is None:
        with worker_addresses.port_listener(FLAGS.port) as listener:
            yield listener
        return
    path = os.path.abspath(FLAGS.socket)
    with worker_addresses.path_listener(path) as listener:
        try:
            yield listener
        finally:
            os.unlink(path)


if __name__ == '__main__':
    program.run(main)
