"""From a cohort of users to what the clients of a round read.

The server decides which rows of the packed store make up each virtual client and
sends only that: row numbers, local labels and a seed. The examples are read inside
the client's graph, so no tensor of users' data crosses from driver to worker.
"""

import collections
from collections.abc import Callable, Iterable, Mapping
import itertools
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.data import store as store_lib

# One shard: V virtual clients with T examples in all.
SHARD_SPEC = collections.OrderedDict(
    rows=tf.TensorSpec([None], tf.int64),  # [T] rows of the store
    labels=tf.TensorSpec([None], tf.int32),  # [T] labels, from 0 in each client
    splits=tf.TensorSpec([None], tf.int64),  # [V + 1] where each client's part ends
    seeds=tf.TensorSpec([None, 2], tf.int64),  # [V, 2] one key per virtual client
)


class Shard(NamedTuple):
    """A shard's virtual clients as tensors: `SHARD_SPEC`, and what its rows point to.

    Attributes:
        examples: [N, *shape], all examples of the store.
        rows: int64 [T].
        labels: int32 [T].
        splits: int64 [V + 1].
        seeds: int64 [V, 2].
    """

    examples: tf.Tensor
    rows: tf.Tensor
    labels: tf.Tensor
    splits: tf.Tensor
    seeds: tf.Tensor

    def client(self, index: tf.Tensor) -> collections.OrderedDict:
        """Returns virtual client `index`, as `LocalFineTuning.update` takes it."""
        start, end = self.splits[index], self.splits[index + 1]
        return collections.OrderedDict(
            examples=self.examples,
            rows=self.rows[start:end],
            labels=self.labels[start:end],
            seed=self.seeds[index],
        )


def assemble(
    store: store_lib.UserStore,
    run: privacy.PrivateRun,
    round_num: int,
    num_shards: int,
    identity_labels: Optional[np.ndarray] = None,
) -> list[collections.OrderedDict]:
    """Describes a round's virtual clients, divided into shards of similar work.

    Has the system read their examples ahead, too. Where the cohort groups users whole, a
    virtual client with an absent member (a place of the roster without data) is void: it
    is in no shard, so neither the sum nor any count of records knows of it. Otherwise the
    others of a virtual client train without the absent.

    Args:
        store: the training users.
        run: whose cohort it is, and whose keys of heads.
        round_num: round, from 0; same run and round, same descriptors.
        num_shards: number of TFF clients that do the work; always that many shards
            come back, some perhaps empty, so that TFF's cardinality never changes.
        identity_labels: int32, the label of each of the store's identities, for a head
            that all share (`EmbeddingModel.identity_labels`), instead of 0, 1, ... in
            each virtual client.

    Returns:
        One structure of `SHARD_SPEC` per shard, NumPy arrays.
    """
    cohort = run.cohort(round_num)
    store.read_ahead(itertools.chain.from_iterable(cohort.users))
    seeds = run.head_keys(round_num, len(cohort.users))
    rows = [_rows_of(store, users) for users in cohort.users]
    there = [
        index
        for index, users in enumerate(cohort.users)
        if not cohort.whole_groups or store.present[users].all()
    ]
    loads = np.zeros(num_shards, np.int64)
    members: list[list[int]] = [[] for _ in range(num_shards)]
    # Largest first onto the least loaded shard: within 4/3 of the best split.
    for index in sorted(there, key=lambda i: -len(rows[i])):
        lightest = int(np.argmin(loads))
        members[lightest].append(index)
        loads[lightest] += len(rows[index])
    return [_shard(store, rows, seeds, sorted(indices), identity_labels) for indices in members]


def num_examples(shards: list[collections.OrderedDict]) -> int:
    """Returns the number of examples in a round's shards."""
    return sum(len(shard['rows']) for shard in shards)


def empty_shard() -> collections.OrderedDict:
    """Returns the shard without virtual clients, of `SHARD_SPEC`."""
    return collections.OrderedDict(
        rows=np.zeros(0, np.int64),
        labels=np.zeros(0, np.int32),
        splits=np.zeros(1, np.int64),
        seeds=np.zeros([0, 2], np.int64),
    )


def map_examples(store: store_lib.UserStore) -> tf.Tensor:
    """Returns [N, *shape], the store's file of examples mapped into memory."""
    return tf.raw_ops.ImmutableConst(
        dtype=tf.as_dtype(store.example_spec.dtype),
        shape=[store.num_examples, *store.example_spec.shape],
        memory_region_name=str(store.examples_path),
    )


def build_reader(store: store_lib.UserStore) -> Callable[[Mapping[str, tf.Tensor]], Shard]:
    """Returns the in-graph function from a shard descriptor to its virtual clients.

    A step gathers the rows of its batch from the mapped file. There is no data set:
    to set one up takes longer than to train a small virtual client. On several machines
    the file must be at the same path on each.
    """
    return lambda shard: Shard(examples=map_examples(store), **shard)


def as_sequence(
    read: Callable[[Mapping[str, tf.Tensor]], Shard], shard: Mapping[str, tf.Tensor]
) -> tf.data.Dataset:
    """Returns a shard's virtual clients one after another, each with its own examples.

    Args:
        read: as `build_reader` returns it.
        shard: descriptor, tensors of `SHARD_SPEC`.

    Returns:
        Elements as in `dp_fedemb.learning.local_fine_tuning.virtual_client_spec`.
    """

    def virtual_client(index: tf.Tensor) -> collections.OrderedDict:
        # Read in here: what a data set captures goes along by value, the whole file.
        client = read(shard).client(index)
        client['examples'] = tf.gather(client['examples'], client.pop('rows'))
        return client

    count = tf.size(shard['splits'], tf.int64) - 1
    return tf.data.Dataset.range(count).map(virtual_client)


def _rows_of(store: store_lib.UserStore, users: Iterable[int]) -> np.ndarray:
    spans = [np.arange(store.user_splits[u], store.user_splits[u + 1]) for u in users]
    return np.concatenate(spans) if spans else np.zeros(0, np.int64)


def _local_labels(identities: np.ndarray) -> np.ndarray:
    """Numbers identities by their first appearance here.

    Not by their numbers in the store: those depend on who else holds them, and one
    user's leaving would relabel the examples of others.
    """
    _, first, inverse = np.unique(identities, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _shard(
    store: store_lib.UserStore,
    rows: list[np.ndarray],
    seeds: np.ndarray,
    indices: list[int],
    identity_labels: Optional[np.ndarray],
) -> collections.OrderedDict:
    chosen = [rows[index] for index in indices]
    labels = [store.identities[part] for part in chosen]
    if identity_labels is None:
        labels = [_local_labels(identities) for identities in labels]
    else:
        labels = [identity_labels[identities] for identities in labels]
    nothing = [np.zeros(0, np.int64)]
    return collections.OrderedDict(
        rows=np.concatenate(nothing + chosen).astype(np.int64),
        labels=np.concatenate(nothing + labels).astype(np.int32),
        splits=np.cumsum([0] + [len(part) for part in chosen]).astype(np.int64),
        seeds=seeds[indices].astype(np.int64).reshape(-1, 2),
    )
