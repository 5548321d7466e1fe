"""From examples to embeddings, with a model at hand or from its SavedModel."""

from collections.abc import Callable, Collection, Mapping
import os
import pathlib
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import data
from dp_fedemb import host_error
from dp_fedemb import validate

_OUTPUT = 'embeddings'
# How often a model is loaded again that was replaced while it was read.
_TRIES = 5


def embed(
    model: Callable[[np.ndarray], Any],
    examples: np.ndarray,
    batch_size: int = 512,
    on_batch: Optional[Callable[[int], None]] = None,
) -> np.ndarray:
    """Embeds examples batch by batch.

    Args:
        model: maps examples [b, *shape] to embeddings [b, D], or to a dict that has them
            under 'embeddings'. If it has an `example_spec`, the examples must fit it.
        examples: [n, *shape]; of a memory map, one batch is read at a time.
        batch_size: examples in memory and in the model at once.
        on_batch: called with the number of examples of each batch that is done.

    Returns:
        float32 [n, D], each of norm 1; zero where the model's embedding is zero.

    Raises:
        ValueError: for no examples, others than the model takes, or embeddings that are
            not finite.
    """
    validate.positive(batch_size=batch_size)
    if not len(examples):
        raise ValueError(f'examples {list(examples.shape)}: expected at least one')
    spec = getattr(model, 'example_spec', None)
    if spec is not None:
        spec.check(examples)
    embeddings: Optional[np.ndarray] = None
    for start in range(0, len(examples), batch_size):
        batch = np.ascontiguousarray(examples[start : start + batch_size])
        output = model(batch)
        vectors = np.asarray(output[_OUTPUT] if isinstance(output, dict) else output)
        if embeddings is None:
            embeddings = np.empty((len(examples), vectors.shape[-1]), np.float32)
        embeddings[start : start + len(batch)] = _unit(vectors, start)
        if on_batch is not None:
            on_batch(len(batch))
    assert embeddings is not None
    return embeddings


def embed_store(
    model: Callable[[np.ndarray], Any],
    store: data.UserStore,
    batch_size: int = 512,
    on_batch: Optional[Callable[[int], None]] = None,
) -> np.ndarray:
    """Embeds a store's examples, see `embed`; none if they have changed.

    Raises:
        HostError: if the store has changed since it was opened.
    """
    store.check_unchanged()
    embeddings = embed(model, store.examples, batch_size, on_batch)
    store.check_unchanged()
    return embeddings


def _unit(vectors: np.ndarray, start: int) -> np.ndarray:
    finite = np.isfinite(vectors).all(axis=-1)
    if not finite.all():
        raise ValueError(
            f'embedding of example {start + int(np.argmin(finite))} is not finite: the'
            ' weights are not, or training diverged; take an earlier checkpoint, a'
            ' smaller learning rate or less noise'
        )
    vectors = vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms == 0, 1, norms)


class SavedEmbeddingModel:
    """A released model from disk: examples (as uint8 images) in, embeddings out.

    Attributes:
        path: the SavedModel's directory, where a run at work may have put another one since.
        fingerprint: what tells this model from every other, see `saved_model.fingerprint`.
        example_spec: shape and type of the examples it takes.
    """

    def __init__(self, path: pathlib.Path, loaded: Any, fingerprint: str):
        self.path = path
        self.fingerprint = fingerprint
        # Variables live as long as the loaded object does.
        self._loaded = loaded
        self._signature = _signature(path, loaded)
        (self._input,) = self._signature.structured_input_signature[1]
        spec = self._signature.structured_input_signature[1][self._input]
        self.example_spec = data.ExampleSpec(spec.shape[1:], spec.dtype.name)

    def check_unchanged(self) -> None:
        """Checks that what stands at the path is this model still.

        Raises:
            HostError: if it was replaced, as by the run that trains it, changed or lost.
        """
        if _fingerprint(self.path) != self.fingerprint:
            raise _replaced(self.path)

    def __call__(self, examples: np.ndarray) -> dict[str, Any]:
        """Maps [n, *shape] to {'embeddings': float32 [n, D]}; of images also floats in 0..1.

        Raises:
            ValueError: for examples of another shape, or of a type whose meaning is not
                certain.
        """
        import tensorflow as tf

        batch = self.example_spec.taken(examples)
        if not len(batch):
            dim = self._signature.structured_outputs[_OUTPUT].shape[-1]
            return {_OUTPUT: tf.zeros([0, dim])}
        return self._signature(**{self._input: tf.constant(batch)})

    def check_examples(self, example_spec: data.example_spec.SpecLike) -> None:
        """Raises ValueError unless the model takes examples of this shape and type."""
        spec = data.ExampleSpec.of(example_spec)
        if self.example_spec != spec:
            raise ValueError(
                f'model={str(self.path)!r} takes examples of {self.example_spec}, the data are'
                f' of {spec}: choose the model, or the size of the examples of the task, that'
                ' it was trained with'
            )


def load_model(
    directory: Union[str, os.PathLike],
    example_spec: Optional[data.example_spec.SpecLike] = None,
    accept_ops: Collection[str] = (),
) -> SavedEmbeddingModel:
    """Loads a SavedModel of `dp_fedemb.models.ServingModel.save`.

    A SavedModel is a program that runs as you: the names of its ops are looked at before
    anything of it runs, see `models.graph_ops`.

    Args:
        directory: its directory, or that of the run that wrote it.
        example_spec: of the examples that it will get, to be checked; a bare shape is that
            of uint8 images.
        accept_ops: names of ops that you accept beyond those that only compute.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ValueError: if its ops could do more than compute, its signature is another, or it
            takes other examples.
        HostError: if others replace it again and again while it is read.
    """
    from dp_fedemb.models import saved_model

    path = saved_model.find(directory, 'model')
    model = _load_whole(path, accept_ops)
    if example_spec is not None:
        model.check_examples(example_spec)
    return model


def _load_whole(path: pathlib.Path, accept_ops: Collection[str]) -> SavedEmbeddingModel:
    """Loads a model of which no part is of one that a run put in its place meanwhile."""
    for _ in range(_TRIES):
        before = _fingerprint(path)
        try:
            model = _load(path, accept_ops, before)
        except (OSError, ValueError):
            # What is damaged stays as it is.
            if before == _fingerprint(path):
                raise
            continue
        if before == _fingerprint(path):
            return model
    raise _replaced(path)


def _load(
    path: pathlib.Path, accept_ops: Collection[str], fingerprint: str
) -> SavedEmbeddingModel:
    import tensorflow as tf

    from dp_fedemb.models import graph_ops

    graph_ops.check(path, accept_ops)
    try:
        loaded = tf.saved_model.load(str(path))
    # What TensorFlow raises for damaged files is any of many types.
    except Exception as error:
        if host_error.of_the_host(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f'model={str(path)!r}: damaged SavedModel ({reason})') from error
    return SavedEmbeddingModel(path, loaded, fingerprint)


def _replaced(path: pathlib.Path) -> host_error.HostError:
    return host_error.HostError(
        f'model={str(path)!r}: was replaced while it was read, as by the run that trains it;'
        ' wait for the end of that, or copy the model, and run the same command again'
    )


def _fingerprint(path: pathlib.Path) -> str:
    """What stands at a path; empty for what goes while it is read."""
    from dp_fedemb.models import saved_model

    try:
        return saved_model.fingerprint(path)
    except FileNotFoundError:
        return ''


def _signature(path: pathlib.Path, loaded: Any) -> Any:
    expected = (
        'expected examples [n, ...] of one size in (as uint8 images [n, H, W, C]), float32'
        ' embeddings [n, D] out'
    )
    signature = loaded.signatures.get('serving_default')
    if signature is None:
        raise ValueError(f'model={str(path)!r}: no signature serving_default; {expected}')
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    found = f'{_specs(inputs)} in, {_specs(outputs)} out'
    fits = (
        len(inputs) == 1
        and all(_fits(spec) for spec in inputs.values())
        and _OUTPUT in outputs
        and outputs[_OUTPUT].shape.rank == 2
        and outputs[_OUTPUT].dtype == 'float32'
    )
    if not fits:
        raise ValueError(f'model={str(path)!r}: {found}; {expected}')
    return signature


def _fits(spec: Any) -> bool:
    known = spec.shape.rank and spec.shape[1:].is_fully_defined()
    return known and spec.dtype.name in data.example_spec.DTYPES


def _specs(specs: Mapping[str, Any]) -> str:
    return ', '.join(
        f'{name} {spec.dtype.name}{spec.shape}' for name, spec in sorted(specs.items())
    )
