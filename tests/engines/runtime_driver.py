"""Runs computations in a `LocalRuntime` and ends as told; for test_runtime.py."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.engines import runtime
from dp_fedemb.runs import signals


@tff.tensorflow.computation(np.int64)
def spin(steps):
    return tf.while_loop(lambda i: i < steps, lambda i: i + 1, [tf.constant(0, tf.int64)])[0]


def main(way: str) -> None:
    if way == 'forgotten':
        local = runtime.LocalRuntime(1)
        local.__enter__()
        print('sum', spin(3), flush=True)
        return
    with signals.end_cleanly(), runtime.LocalRuntime(1):
        try:
            print('sum', spin(3), flush=True)
            # Longer than anybody waits.
            spin(10**12)
        finally:
            print('finally', flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
