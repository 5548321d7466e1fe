"""Published ImageNet kernels, from files that Keras's own networks write."""

import h5py
import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.models import pretrained

SHAPE = (64, 64, 3)
PUBLISHED = {
    'resnet50': tf.keras.applications.ResNet50,
    'mobilenet_v2': tf.keras.applications.MobileNetV2,
}
PREPROCESS = {
    'resnet50': tf.keras.applications.resnet50.preprocess_input,
    'mobilenet_v2': tf.keras.applications.mobilenet_v2.preprocess_input,
}
FIRST = {'resnet50': ('conv1_conv', 'conv1_conv'), 'mobilenet_v2': ('Conv1', 'stem_conv')}


@pytest.fixture(scope='module', params=sorted(PUBLISHED))
def network(request, tmp_path_factory):
    """(name, Keras's network, its weight file, our backbone with the file's kernels)."""
    name = request.param
    theirs = PUBLISHED[name](weights=None, include_top=False, input_shape=SHAPE)
    path = str(tmp_path_factory.mktemp(name) / 'weights_notop.h5')
    theirs.save_weights(path)
    ours = models.BACKBONES[name](SHAPE, 8)
    before = {weight.name: weight.numpy() for weight in ours.weights}
    report = models.load_imagenet_convolutions(ours, path)
    return name, theirs, path, ours, before, report


@pytest.fixture(scope='module')
def grey():
    return models.BACKBONES['mobilenet_v2']((64, 64, 1), 8)


def test_every_convolution_is_loaded_and_nothing_else(network):
    name, theirs, _, ours, before, report = network
    convolutions = [layer for layer in ours.layers if layer.name.endswith('_conv')]
    assert report.loaded == tuple(layer.name for layer in convolutions)
    assert (report.missing, report.unused, report.other_shape) == ((), (), {})
    assert str(report) == f'{len(convolutions)} of {len(convolutions)} convolutions loaded'
    kind = tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D
    kernels = [layer.weights[0] for layer in theirs.layers if isinstance(layer, kind)]
    if name == 'mobilenet_v2':
        # Both networks are a chain, so order tells what the mapping of names must give.
        for layer, kernel in list(zip(convolutions, kernels, strict=True))[1:]:
            np.testing.assert_array_equal(layer.weights[0], kernel)
    else:
        for layer in convolutions[1:]:
            np.testing.assert_array_equal(
                layer.weights[0], theirs.get_layer(layer.name).weights[0]
            )
    for weight in ours.weights:
        loaded = weight.name.split('/')[0] in report.loaded
        assert np.array_equal(weight, before[weight.name]) != loaded


def test_first_kernel_sees_the_image_that_it_was_trained_on(network):
    """Up to a constant per filter, away from the border, where padding is not the mean."""
    name, theirs, _, ours, _, _ = network
    images = np.random.default_rng(0).random((2, *SHAPE), np.float32)
    published, layer = FIRST[name]
    first = tf.keras.Model(theirs.input, theirs.get_layer(published).output)
    wanted = first(PREPROCESS[name](255.0 * images)).numpy()[:, 4:-4, 4:-4]
    first = tf.keras.Model(ours.input, ours.get_layer(layer).output)
    found = first(images).numpy()[:, 4:-4, 4:-4]
    difference = found - wanted
    spread = np.std(wanted, axis=(0, 1, 2))
    assert np.all(np.std(difference, axis=(0, 1, 2)) < 1e-3 * spread)


def write(path, kernels):
    """A weight file as Keras writes them, with these kernels only."""
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = np.array([name.encode() for name in kernels])
        for name, kernel in kernels.items():
            group = file.create_group(name)
            group.attrs['weight_names'] = np.array([f'{name}/kernel:0'.encode()])
            group.create_dataset(f'{name}/kernel:0', data=kernel)
    return str(path)


def test_grey_images_get_the_summed_kernel(grey, tmp_path):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 32))
    models.load_imagenet_convolutions(grey, write(tmp_path / 'first.h5', {'Conv1': kernel}))
    summed = kernel.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(grey.get_layer('stem_conv').kernel, 2 * summed, rtol=1e-5)


def test_report_of_a_partial_match(grey, tmp_path):
    kernels = {
        'Conv1': np.ones((7, 7, 3, 32)),
        'block_1_project': np.ones((1, 1, 96, 24)),
        'Conv_9': np.ones((1, 1, 64, 64)),
    }
    report = models.load_imagenet_convolutions(grey, write(tmp_path / 'some.h5', kernels))
    assert report.loaded == ('block1_project_conv',)
    assert report.other_shape == {'stem_conv': 'file (7, 7, 1, 32), model (3, 3, 1, 32)'}
    assert report.unused == ('Conv_9',) and len(report.missing) == 50
    assert '1 of 52 convolutions loaded; of another shape: stem_conv (file' in str(report)


def test_refused(grey, tmp_path):
    text = tmp_path / 'weights.h5'
    text.write_text('not HDF5')
    with pytest.raises(ValueError, match='not an HDF5 file'):
        models.load_imagenet_convolutions(grey, str(text))
    other = write(tmp_path / 'other.h5', {'dense': np.ones((2, 2))})
    with pytest.raises(ValueError, match='has no kernel for mobilenet_v2'):
        models.load_imagenet_convolutions(grey, other)
    with h5py.File(tmp_path / 'empty.h5', 'w'):
        pass
    with pytest.raises(ValueError, match='holds no Keras weights'):
        models.load_imagenet_convolutions(grey, str(tmp_path / 'empty.h5'))
    lenet = models.BACKBONES['lenet']((16, 16, 1), 8)
    with pytest.raises(ValueError, match='for lenet: expected one of resnet50, mobilenet_v2'):
        models.load_imagenet_convolutions(lenet, other)


@pytest.mark.parametrize('kind', ['raw', 'virtual', 'external', 'soft'])
def test_a_weight_file_reads_no_other_file(grey, tmp_path, kind):
    key = tmp_path / 'key'
    key.write_bytes(b'hush' * 9)
    with h5py.File(tmp_path / 'other.h5', 'w') as other:
        other['layer/kernel:0'] = np.ones((3, 3, 1, 1))
    with h5py.File(tmp_path / 'weights.h5', 'w') as file:
        file.attrs['layer_names'] = ['layer']
        group = file.create_group('layer')
        group.attrs['weight_names'] = ['kernel:0']
        shape = (3, 3, 1, 1)
        if kind == 'raw':
            group.create_dataset('kernel:0', shape, 'f4', external=[(str(key), 0, 36)])
        elif kind == 'virtual':
            source = h5py.VirtualSource(str(tmp_path / 'other.h5'), 'layer/kernel:0', shape)
            layout = h5py.VirtualLayout(shape, 'f4')
            layout[:] = source
            group.create_virtual_dataset('kernel:0', layout)
        elif kind == 'external':
            group['kernel:0'] = h5py.ExternalLink(str(tmp_path / 'other.h5'), 'layer/kernel:0')
        else:
            file['away'] = h5py.ExternalLink(str(tmp_path / 'other.h5'), 'layer')
            group['kernel:0'] = h5py.SoftLink('/away/kernel:0')
    with pytest.raises(ValueError, match='is not read|is not followed'):
        models.load_imagenet_convolutions(grey, str(tmp_path / 'weights.h5'))


def test_a_weight_file_is_a_start(network, tmp_path):
    name, _, path, ours, _, report = network
    model = models.build_embedding_model(name, SHAPE, 8)
    (trainable, _), found = pretrained.load(path, model, seed=5)
    values = dict(zip((v.name for v in ours.trainable_variables), trainable, strict=True))
    fresh = dict(zip(values, model.initial_weights(5)[0], strict=True))
    kernels = {ours.get_layer(layer).weights[0].name for layer in report.loaded}
    for variable in ours.trainable_variables:
        expected = variable if variable.name in kernels else fresh[variable.name]
        np.testing.assert_array_equal(values[variable.name], expected)
    assert len(found.matched) == len(kernels) and 'ImageNet' in str(found)
    assert len(str(found).splitlines()) <= 4
    assert not pretrained.read_origin(path).voids_guarantee
    with pytest.raises(ValueError, match='no published ImageNet kernels for lenet'):
        pretrained.load(path, models.build_embedding_model('lenet', SHAPE, 8))
    (tmp_path / 'none.h5').write_bytes(b'')
    with pytest.raises(ValueError, match='not an HDF5 file'):
        pretrained.load(tmp_path / 'none.h5', model)
