"""From images to embeddings, with a model at hand or from its SavedModel."""

from collections.abc import Callable, Sequence
import os
import pathlib
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import validate

_OUTPUT = 'embeddings'


def embed(
    model: Callable[[np.ndarray], Any],
    images: np.ndarray,
    batch_size: int = 512,
    on_batch: Optional[Callable[[int], None]] = None,
) -> np.ndarray:
    """Embeds images batch by batch.

    Args:
        model: maps uint8 images [b, H, W, C] to embeddings [b, D], or to a dict that
            has them under 'embeddings'.
        images: uint8 [n, H, W, C]; of a memory map, one batch is read at a time.
        batch_size: images in memory and in the model at once.
        on_batch: called with the number of images of each batch that is done.

    Returns:
        float32 [n, D], each of norm 1; zero where the model's embedding is zero.

    Raises:
        ValueError: for no images, another type, or embeddings that are not finite.
    """
    validate.positive(batch_size=batch_size)
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(
            f'images {images.dtype}{list(images.shape)}: expected uint8[n >= 1, H, W, C]'
        )
    embeddings = None
    for start in range(0, len(images), batch_size):
        batch = np.ascontiguousarray(images[start : start + batch_size])
        output = model(batch)
        vectors = np.asarray(output[_OUTPUT] if isinstance(output, dict) else output)
        if embeddings is None:
            embeddings = np.empty((len(images), vectors.shape[-1]), np.float32)
        embeddings[start : start + len(batch)] = _unit(vectors, start)
        if on_batch is not None:
            on_batch(len(batch))
    return embeddings


def _unit(vectors, start):
    finite = np.isfinite(vectors).all(axis=-1)
    if not finite.all():
        raise ValueError(
            f'embedding of image {start + int(np.argmin(finite))} is not finite: the'
            ' weights are not, or training diverged; take an earlier checkpoint, a'
            ' smaller learning rate or less noise'
        )
    vectors = vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms == 0, 1, norms)


class SavedEmbeddingModel:
    """A released model from disk: uint8 images in, unit-norm embeddings out.

    Attributes:
        path: the SavedModel's directory.
        image_shape: (H, W, C) of the images it takes.
    """

    def __init__(self, path: pathlib.Path, loaded: Any):
        self.path = path
        # Variables live as long as the loaded object does.
        self._loaded = loaded
        self._signature = _signature(path, loaded)
        (self._input,) = self._signature.structured_input_signature[1]
        spec = self._signature.structured_input_signature[1][self._input]
        self.image_shape = tuple(spec.shape[1:])

    def __call__(self, images: np.ndarray) -> dict[str, Any]:
        """Maps uint8 [n, H, W, C] to {'embeddings': float32 [n, D]}."""
        import tensorflow as tf

        return self._signature(**{self._input: tf.constant(images)})

    def check_image_shape(self, image_shape: Sequence[int]) -> None:
        """Raises ValueError unless the model takes images (H, W, C) of this shape."""
        if self.image_shape != tuple(image_shape):
            raise ValueError(
                f'model={str(self.path)!r} takes images of'
                f' {shape_text(self.image_shape)}, the data are of'
                f' {shape_text(image_shape)}: choose the model, or the image size of the'
                ' task, that it was trained with'
            )


def load_model(
    directory: Union[str, os.PathLike], image_shape: Optional[Sequence[int]] = None
) -> SavedEmbeddingModel:
    """Loads a SavedModel of `dp_fedemb.models.ServingModel.save`.

    Args:
        directory: its directory, or that of the run that wrote it.
        image_shape: (H, W, C) of the images that it will get, to be checked.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ValueError: if its signature is another, or it takes images of another shape.
    """
    path = _saved_model_path(pathlib.Path(directory).expanduser())
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    # What TensorFlow raises for damaged files is any of many types.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f'model={str(path)!r}: damaged SavedModel ({reason})') from error
    model = SavedEmbeddingModel(path, loaded)
    if image_shape is not None:
        model.check_image_shape(image_shape)
    return model


def shape_text(shape: Sequence[int]) -> str:
    """Returns 28x28x1 for (28, 28, 1)."""
    return 'x'.join('?' if size is None else str(size) for size in shape)


def _saved_model_path(directory):
    if not directory.is_dir():
        raise FileNotFoundError(f'model={str(directory)!r}: no such directory')
    for path in (directory, directory / 'saved_model'):
        if (path / 'saved_model.pb').exists():
            return path
    raise FileNotFoundError(
        f'model={str(directory)!r}: no SavedModel here (neither saved_model.pb nor a'
        ' saved_model directory with it); a run writes one when it saves a checkpoint'
    )


def _signature(path, loaded):
    expected = 'expected uint8 images [n, H, W, C] in, float32 embeddings [n, D] out'
    signature = loaded.signatures.get('serving_default')
    if signature is None:
        raise ValueError(f'model={str(path)!r}: no signature serving_default; {expected}')
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    found = f'{_specs(inputs)} in, {_specs(outputs)} out'
    fits = (
        len(inputs) == 1
        and all(s.dtype == 'uint8' and s.shape.rank == 4 for s in inputs.values())
        and _OUTPUT in outputs
        and outputs[_OUTPUT].shape.rank == 2
        and outputs[_OUTPUT].dtype == 'float32'
    )
    if not fits:
        raise ValueError(f'model={str(path)!r}: {found}; {expected}')
    return signature


def _specs(specs):
    return ', '.join(
        f'{name} {spec.dtype.name}{spec.shape}' for name, spec in sorted(specs.items())
    )
