"""Rounds whose shards run on workers of other machines.

The driver samples, adds up the partial sums, adds the noise and applies the update;
the workers fine-tune, clip and sum. So the key of the noise, the optimizer's state and
that of the mechanism never leave the driver; what crosses is, per worker and round, the
backbone's weights and the descriptors of its shards, and back, one partial sum a shard.
A shard whose worker is lost is done again by another one from the same descriptor, so
the round's result does not depend on who survives.
"""

import collections
from collections.abc import Callable, Sequence
import os
import threading
from types import TracebackType
from typing import Any, Optional

from absl import logging
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import engine
from dp_fedemb.engines import executor
from dp_fedemb.engines import remote_worker
from dp_fedemb.engines import server_rounds
from dp_fedemb.engines import shard_computation
from dp_fedemb.engines import store_check
from dp_fedemb.engines import worker_process
from dp_fedemb.learning import client_config
from dp_fedemb.models import embedding_model


class RemoteRuntime:
    """Workers of `bin/worker.py`, connected while entered.

    with RemoteRuntime(['a:8470', 'b:8470']) as runtime:
        engine = RemoteEngine(runtime, model, config, store, ...)
    """

    def __init__(self, workers: Sequence[str], timeout_s: float = 60.0):
        """Names the workers.

        Args:
            workers: 'host:port' of each.
            timeout_s: how long a worker may take to answer at the start, and may leave
                a sign of life unanswered later; a round may take as long as it likes.
        """
        self._addresses = list(workers)
        self._timeout_s = timeout_s
        self.workers: list[remote_worker.RemoteWorker] = []

    @property
    def client_parallelism(self) -> int:
        """Cores of all workers, those that were lost since included."""
        return sum(worker.cores for worker in self.workers)

    def __enter__(self) -> 'RemoteRuntime':
        self.workers = remote_worker.connect_all(self._addresses, self._timeout_s)
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        for worker in self.workers:
            if worker.lost is None:
                worker.executor.close()
            worker.close()

    def check_store(self, store: store_lib.UserStore) -> None:
        """Compares every worker's copy of the examples with the driver's, byte for byte.

        Raises:
            ValueError: naming the workers that lack the store, or have another one.
        """
        key = np.frombuffer(os.urandom(16), np.int64)

        @tff.tensorflow.computation
        def digest_of_copy() -> tuple[tf.Tensor]:
            return (store_check.of_path(store, key),)

        expected = store_check.of_driver(store, key)

        def check(worker: remote_worker.RemoteWorker) -> None:
            try:
                function = worker.executor.create_function(digest_of_copy)
                found = int(worker.executor.call(function, [])[0])
                function.free()
            except remote_worker.WorkerLostError:
                raise
            except RuntimeError as error:
                raise ValueError(
                    f'worker {worker.address} cannot read {store.examples_path}: copy the'
                    f' store to the same path there ({str(error)[:200]})'
                ) from error
            if found != expected:
                raise ValueError(
                    f'worker {worker.address} has another {store.examples_path} than the'
                    ' driver: copy the store again'
                )

        errors = remote_worker.run_on_each(self.workers, check)
        if errors:
            kind = (
                ValueError
                if any(isinstance(e, ValueError) for e in errors)
                else worker_process.WorkerError
            )
            raise kind('; '.join(str(error) for error in errors))


class RemoteEngine(server_rounds.ServerRounds):
    """Runs rounds of `build_dp_fedemb` with the shards on a runtime's workers."""

    def __init__(
        self,
        remote: RemoteRuntime,
        model: embedding_model.EmbeddingModel,
        config: client_config.ClientConfig,
        store: store_lib.UserStore,
        **options: Any,
    ):
        """Sends the shard's computation to all workers.

        Args:
            remote: entered already.
            model: as in `build_dp_fedemb`.
            config: as in `build_dp_fedemb`.
            store: the training users; the same files at the same path on each host.
            **options: of `ServerRounds`; `num_shards` is one per core by default.

        Raises:
            ValueError: if a worker has not the same store.
        """
        options.setdefault('num_shards', remote.client_parallelism)
        super().__init__(model, config, **options)
        remote.check_store(store)
        self._remote = remote
        reader = virtual_clients.build_reader(store)
        self._work = shard_computation.build(
            model, config, self._query, reader, self._raw_metrics
        )
        self._functions = {
            worker: worker.executor.create_function(self._work.run) for worker in remote.workers
        }

    def _sum(
        self, weights: Any, params: Any, rate: tf.Tensor, shards: Sequence[engine.Descriptor]
    ) -> Any:
        public = shard_computation.flatten_public(weights, params, rate)
        work = _Round(public, [shard_computation.flatten_shard(shard) for shard in shards])
        threads = []
        for worker in self._remote.workers:
            if worker.lost is None:
                threads += work.start(worker, self._functions[worker])
        work.wait(threads)
        lost = [w for w in self._remote.workers if w.lost is not None]
        if len(work.results) < len(shards):
            reasons = '; '.join(f'worker {w.address} {w.lost}' for w in lost)
            raise worker_process.WorkerError(
                f'no worker is left to finish the round: {reasons}'
            )
        return self._added(
            [self._work.pack(work.results[index]) for index in range(len(shards))]
        )


class _Round:
    """Deals shards out to workers until all are done or nobody is left."""

    def __init__(self, public: executor.Arrays, shards: Sequence[executor.Arrays]):
        self._public = public
        self._shards = shards
        self._waiting = collections.deque(range(len(shards)))
        self._changed = threading.Condition()
        self._error: Optional[Exception] = None
        self.results: dict[int, list[Any]] = {}

    def start(
        self, worker: remote_worker.RemoteWorker, function: executor.Value
    ) -> list[threading.Thread]:
        """Returns the started threads, one per core of the worker."""
        sent = _Once(lambda: worker.executor.create_tensors(self._public))
        run = lambda: self._serve(worker, function, sent)
        threads = [threading.Thread(target=run, daemon=True) for _ in range(worker.cores)]
        sent.users = len(threads)
        for thread in threads:
            thread.start()
        return threads

    def wait(self, threads: Sequence[threading.Thread]) -> None:
        """Waits for the threads; a signal's exception passes through here."""
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _serve(
        self, worker: remote_worker.RemoteWorker, function: executor.Value, sent: '_Once'
    ) -> None:
        try:
            while (index := self._next()) is not None:
                try:
                    shard = worker.executor.create_tensors(self._shards[index])
                    result = worker.executor.call(function, [sent.get(), shard])
                    shard.free()
                except Exception as error:  # Whatever it is, nobody may wait for ever.
                    self._give_back(index, error)
                    return
                with self._changed:
                    self.results[index] = result
                    self._changed.notify_all()
        finally:
            sent.release()

    def _next(self) -> Optional[int]:
        """Returns the index of a shard to do, None when there is nothing left."""
        with self._changed:
            while not self._waiting:
                # Somebody else's shard may come back.
                if self._error is not None or len(self.results) == len(self._shards):
                    return None
                self._changed.wait()
            return None if self._error is not None else self._waiting.popleft()

    def _give_back(self, index: int, error: Exception) -> None:
        with self._changed:
            self._waiting.append(index)
            if isinstance(error, remote_worker.WorkerLostError):
                logging.warning('%s; its shard goes to another worker', error)
            else:
                self._error = error
            self._changed.notify_all()


class _Once:
    """A value that the first of several threads sends and the last one frees."""

    def __init__(self, send: Callable[[], executor.Value]):
        self._send = send
        self._lock = threading.Lock()
        self._value: Optional[executor.Value] = None
        self.users = 0

    def get(self) -> executor.Value:
        with self._lock:
            if self._value is None:
                self._value = self._send()
            return self._value

    def release(self) -> None:
        with self._lock:
            self.users -= 1
            if self.users == 0 and self._value is not None:
                self._value.free()
