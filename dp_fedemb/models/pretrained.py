"""Weights from a SavedModel, matched by name and shape; or published ImageNet kernels.

Only the file of variables is read: no graph of the SavedModel is built or run, so
a model from elsewhere cannot execute anything, and a large one loads in no time.
"""

import collections
from collections.abc import Iterable, Sequence
import dataclasses
import hashlib
import os
import pathlib
from typing import Union

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from dp_fedemb import host_error
from dp_fedemb import json_files
from dp_fedemb import privacy
from dp_fedemb.models import embedding_model
from dp_fedemb.models import saved_model
from dp_fedemb.models import weight_values
from dp_fedemb.models.backbones import imagenet

# What is said beside a released model about its privacy.
STATEMENT = 'privacy.json'
_GRAPH_KEY = '_CHECKPOINTABLE_OBJECT_GRAPH'
_SHOWN = 4
_OF_KERAS_FILE = (
    'a file of Keras weights, as published for ImageNet; a guarantee holds only if they have'
    ' seen no training user'
)


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of every weight.

    Attributes:
        directory: the SavedModel.
        matched: names of the weights that were loaded.
        fresh: names of the backbone's weights that keep their fresh value, each with
            the reason.
        unused: names in the SavedModel that the backbone has no use for.
        matched_values: number of coordinates loaded.
        total_values: number of coordinates of the backbone.
        origin: whose images the weights have seen.
    """

    directory: str
    matched: tuple[str, ...]
    fresh: dict[str, str]
    unused: tuple[str, ...]
    matched_values: int
    total_values: int
    origin: 'Origin'

    def __str__(self) -> str:
        count = len(self.matched) + len(self.fresh)
        lines = [
            f'pretrained weights of {self.directory}: {len(self.matched)} of {count} matched'
            f' ({self.matched_values:,} of {self.total_values:,} values)'
        ]
        for reason in dict.fromkeys(self.fresh.values()):
            names = [name for name, why in self.fresh.items() if why == reason]
            lines.append(f'  fresh: {_listed(names)} ({reason})')
        if self.unused:
            lines.append(f'  unused: {_listed(self.unused)}')
        lines.append(f'  origin: {self.origin.text}')
        return '\n'.join(lines)


@dataclasses.dataclass(frozen=True)
class Origin:
    """What the statement beside a SavedModel says of the images its weights have seen.

    Attributes:
        text: one line.
        voids_guarantee: whether a private run that starts from it could state no
            epsilon, because the weights reveal training users already.
        ancestors: private runs behind the weights, or one of unknown epsilon.
    """

    text: str
    voids_guarantee: bool
    ancestors: tuple[privacy.Ancestor, ...] = ()


def read_origin(directory: Union[str, os.PathLike]) -> Origin:
    """Reads the statement of the run that a SavedModel lies in.

    Raises:
        FileNotFoundError: if there is no SavedModel.
    """
    if _is_keras_file(directory):
        return Origin(_OF_KERAS_FILE, False)
    path = saved_model.find(directory, 'pretrained')
    record = path.parent / STATEMENT
    other = saved_model.is_published(path) is False
    if other or path.name != saved_model.NAME or not record.exists():
        why = 'it is NOT the model that the run beside it published' if other else 'not stated'
        return Origin(
            f'{why}; a guarantee holds only if it has seen no training user',
            False,
            tuple(privacy.ancestors_of_start(None, 'a start whose data nobody states')),
        )
    way_out = 'restore it, or begin from another start'
    statement = json_files.read(record, way_out)
    with json_files.whole(record, way_out):
        if statement.get('public_images_only'):
            return Origin(str(statement['notice']), False)
        if statement.get('private_by_itself', statement.get('private')):
            epsilon = privacy.rounded_up_text(statement['epsilon_user'])
            users = f'the {statement.get("num_users", "unnumbered")} users of an earlier run'
            return Origin(
                f'a private run; for users of both runs its epsilon of {epsilon} comes on top',
                False,
                tuple(privacy.ancestors_of_start(statement, users)),
            )
    return Origin('NOT PRIVATE: it has seen users without differential privacy', True)


def fingerprint(directory: Union[str, os.PathLike]) -> str:
    """Returns what tells a start from every other, wherever it lies; see `load`.

    Raises:
        FileNotFoundError: if there is no SavedModel.
    """
    if not _is_keras_file(directory):
        return saved_model.fingerprint(saved_model.find(directory, 'pretrained'))
    with open(pathlib.Path(directory).expanduser(), 'rb') as file:
        return hashlib.file_digest(file, 'blake2b').hexdigest()[:32]


def load(
    directory: Union[str, os.PathLike],
    model: embedding_model.EmbeddingModel,
    partial: bool = False,
    seed: int = 0,
) -> tuple[weight_values.WeightValues, LoadReport]:
    """Reads the backbone's weights from a SavedModel.

    A weight matches where name (layer/weight) and shape are the same. Frozen and
    trained weights alike are loaded, whichever the SavedModel's own run froze.

    Args:
        directory: of the SavedModel, or of a run that holds one under `saved_model`; or
            a Keras weight file, *.h5, of the ImageNet network that the backbone follows,
            whose convolutions are taken (`imagenet.load_imagenet_convolutions`).
        model: whose backbone is initialised.
        partial: whether weights that the SavedModel lacks, or has with another shape,
            keep their fresh value. Otherwise every weight must match, or of a weight
            file every convolution.
        seed: of the fresh values.

    Returns:
        (trainable, non_trainable) values of the backbone, and what was matched.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ValueError: if nothing matches; if a weight does not and `partial` is false;
            or if a value is not finite.
    """
    if _is_keras_file(directory):
        return _load_kernels(pathlib.Path(directory).expanduser(), model, partial, seed)
    path = saved_model.find(directory, 'pretrained')
    stored = read_variables(path)
    start = model.initial_weights(seed)
    backbone = model.build_backbone()
    weight_values.assign(backbone, *start)
    matched, fresh, other_shape = [], {}, []
    for variable in backbone.variables:
        name = weight_values.name_of(variable)
        wanted = tuple(variable.shape)
        value = stored.get(name)
        if value is None:
            fresh[name] = 'not in the SavedModel'
        elif value.shape != wanted:
            fresh[name] = f'{_shape(value.shape)} there, {_shape(wanted)} here'
            other_shape.append(f'{name} is {fresh[name]}')
        elif not np.all(np.isfinite(value)):
            raise ValueError(f'pretrained={path}: {name} holds values that are not finite')
        else:
            variable.assign(value.astype(variable.dtype.as_numpy_dtype))
            matched.append(name)
    known = {*matched, *fresh}
    report = LoadReport(
        directory=str(path),
        matched=tuple(matched),
        fresh=fresh,
        unused=tuple(sorted(name for name in stored if name not in known)),
        matched_values=sum(stored[name].size for name in matched),
        total_values=sum(int(np.prod(variable.shape)) for variable in backbone.variables),
        origin=read_origin(path),
    )
    _check(report, backbone, other_shape, partial)
    return weight_values.get(backbone), report


def _is_keras_file(path: Union[str, os.PathLike]) -> bool:
    path = pathlib.Path(path).expanduser()
    return path.suffix in ('.h5', '.hdf5') and path.is_file()


def _load_kernels(
    path: pathlib.Path, model: embedding_model.EmbeddingModel, partial: bool, seed: int
) -> tuple[weight_values.WeightValues, LoadReport]:
    """Takes the convolutions' kernels of a Keras weight file; all else stays fresh."""
    backbone = model.build_backbone()
    weight_values.assign(backbone, *model.initial_weights(seed))
    found = imagenet.load_imagenet_convolutions(backbone, str(path))
    reasons = {**found.other_shape, **dict.fromkeys(found.missing, 'not in the file')}
    if reasons and not partial:
        listed = _listed([f'{layer} ({why})' for layer, why in reasons.items()])
        raise ValueError(
            f'pretrained={path}: {len(reasons)} convolutions of backbone {backbone.name} do not'
            f' fit: {listed}; choose its own weights, or load what fits with'
            ' --pretrained_partial'
        )
    kernels = {weight_values.name_of(backbone.get_layer(n).weights[0]) for n in found.loaded}
    sizes = {weight_values.name_of(v): int(np.prod(v.shape)) for v in backbone.variables}
    fresh = {
        name: reasons.get(name.split('/')[0], 'the file gives kernels of convolutions only')
        for name in sizes
        if name not in kernels
    }
    return weight_values.get(backbone), LoadReport(
        directory=str(path),
        matched=tuple(name for name in sizes if name in kernels),
        fresh=fresh,
        unused=found.unused,
        matched_values=sum(sizes[name] for name in kernels),
        total_values=sum(sizes.values()),
        origin=read_origin(path),
    )


def read_variables(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the floating-point variables of a SavedModel by name.

    A name that several variables share is left out, since it says nothing; Keras
    makes the names of a model's own layers unique.

    Raises:
        ValueError: if the file of variables is missing or damaged.
    """
    prefix = str(path / 'variables' / 'variables')
    try:
        reader = tf.train.load_checkpoint(prefix)
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor(_GRAPH_KEY))
        keys = collections.defaultdict(set)
        for node in graph.nodes:
            for tensor in node.attributes:
                if reader.get_variable_to_dtype_map()[tensor.checkpoint_key].is_floating:
                    keys[tensor.full_name].add(tensor.checkpoint_key)
        return {
            name: reader.get_tensor(found.pop())
            for name, found in keys.items()
            if name and len(found) == 1
        }
    except Exception as error:  # TensorFlow raises a dozen types for a damaged file.
        if host_error.of_the_host(error):
            raise
        why = ' '.join(str(error).split())[:120]
        raise ValueError(f'{path}/variables: cannot be read ({why}); save it again') from None


def _check(
    report: LoadReport, backbone: tf.keras.Model, other_shape: Sequence[str], partial: bool
) -> None:
    where = f'pretrained={report.directory}'
    if not report.matched:
        raise ValueError(
            f'{where}: none of its weights fits backbone {backbone.name}:'
            f' {_listed(other_shape) or "it has no weight of such a name"}; expected a'
            ' SavedModel of the same backbone'
        )
    if report.fresh and not partial:
        missing = [name for name in report.fresh if 'not in' in report.fresh[name]]
        problems = list(other_shape)
        if missing:
            problems.append(f'it lacks {_listed(missing)}')
        raise ValueError(
            f'{where}: {len(report.fresh)} of the {len(report.fresh) + len(report.matched)}'
            f' weights of backbone {backbone.name} do not fit: {_listed(problems)}; choose the'
            ' backbone and embedding_dim it was made with, or load what fits with'
            ' --pretrained_partial'
        )


def _listed(names: Sequence[str]) -> str:
    shown = ', '.join(names[:_SHOWN])
    return shown + (f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else '')


def _shape(sizes: Iterable[int]) -> str:
    return 'x'.join(map(str, sizes)) or 'scalar'
