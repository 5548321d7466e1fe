"""The local runtime: its own worker, its thread layout, its end."""

import os
import pathlib
import signal
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.engines import runtime

_DRIVER = [sys.executable, pathlib.Path(__file__).with_name('runtime_driver.py')]


@tff.tensorflow.computation(np.int32)
def add_one(x):
    return x + 1


@tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
def total(values):
    return tff.federated_sum(tff.federated_map(add_one, values))


def is_running(pid):
    return pathlib.Path(f'/proc/{pid}').exists()


def test_computes_on_its_own_worker():
    before = tff.framework.get_context_stack().current
    with runtime.LocalRuntime(client_parallelism=2, intra_op_threads=1) as local:
        assert local.client_parallelism == 2
        [pid] = local.worker_pids
        folder = pathlib.Path(f'/proc/{pid}')
        assert 'TF_NUM_INTRAOP_THREADS=1' in (folder / 'environ').read_text().split('\0')
        assert '--max_concurrent_computation_calls=2' in (folder / 'cmdline').read_text()
        assert total([1, 2, 3]) == 9
        # The cardinality may change; so may the number of clients at zero.
        assert total([]) == 0
    assert not is_running(pid) and local.worker_pids == []
    assert tff.framework.get_context_stack().current is before


def test_worker_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), runtime.LocalRuntime(1) as local:
        [pid] = local.worker_pids
        raise ZeroDivisionError
    assert not is_running(pid)


def test_worker_that_is_killed_fails_the_computation():
    with runtime.LocalRuntime(1) as local:
        assert total([1]) == 2
        threading.Timer(0.3, os.kill, [local.worker_pids[0], signal.SIGKILL]).start()
        with pytest.raises(RuntimeError, match='ended by SIGKILL .*memory'):
            slow(10**12)


@tff.tensorflow.computation(np.int64)
def slow(steps):
    return tf.while_loop(lambda i: i < steps, lambda i: i + 1, [tf.constant(0, tf.int64)])[0]


def test_parallelism_is_checked():
    with pytest.raises(ValueError, match='parallelism=-1: expected a number above 0'):
        runtime.LocalRuntime(-1).__enter__()
    assert runtime.default_parallelism() == len(os.sched_getaffinity(0))


def test_interpreter_ends_without_leaving_the_runtime(process_checks):
    returned, text = process_checks.check_nothing_left([*_DRIVER, 'forgotten'], ready='sum 3')
    assert returned == 0 and 'Exception ignored' not in text


def test_told_to_stop_in_the_middle_of_a_computation(process_checks):
    returned, text = process_checks.check_nothing_left(
        [*_DRIVER, 'busy'], 'SIGTERM', ready='sum 3'
    )
    assert returned == 143 and 'finally' in text and 'Traceback' not in text
