"""What crosses to the worker in every round, and what only once."""

import numpy as np
import tensorflow_federated as tff

from dp_fedemb.engines import connection
from dp_fedemb.engines import runtime


def test_a_computation_is_sent_once_and_each_argument_every_time(monkeypatch):
    sent = []
    ask = connection.Connection._ask

    def counted(self, rpc, request):
        if type(request).__name__ == 'CreateValueRequest':
            sent.append(request.value.WhichOneof('value'))
        return ask(self, rpc, request)

    monkeypatch.setattr(connection.Connection, '_ask', counted)

    @tff.tensorflow.computation(np.int32)
    def increase(x):
        return x + 1

    @tff.tensorflow.computation(np.int32)
    def decrease(x):
        return x - 1

    with runtime.LocalRuntime(1):
        assert [increase(1), increase(2), decrease(2), increase(5)] == [2, 3, 1, 6]
    assert sent.count('computation') == 2
    assert len(sent) == 2 + 4
    # Another worker knows nothing of it.
    with runtime.LocalRuntime(1):
        assert increase(7) == 8
    assert sent.count('computation') == 3
