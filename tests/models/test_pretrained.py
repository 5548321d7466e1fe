"""Weights of a SavedModel, found by name and shape."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.models import pretrained
from dp_fedemb.models import weight_values

SHAPE = (12, 12, 1)


def model(backbone='small_conv', embedding_dim=8, image_shape=SHAPE, **options):
    return models.build_embedding_model(backbone, image_shape, embedding_dim, **options)


def by_name(of_model, weights):
    backbone = of_model.build_backbone()
    variables = [*backbone.trainable_variables, *backbone.non_trainable_variables]
    names = [weight_values.name_of(variable) for variable in variables]
    return dict(zip(names, [*weights[0], *weights[1]], strict=True))


@pytest.fixture(scope='module')
def run_directory(tmp_path_factory):
    """A run directory with a SavedModel of small_conv, weights of seed 7."""
    directory = tmp_path_factory.mktemp('run')
    weights = model().initial_weights(7)
    backbone = model().build_backbone()
    weight_values.assign(backbone, *weights)
    models.ServingModel(backbone, SHAPE).save(str(directory / 'saved_model'))
    return directory


def test_a_start_is_known_by_its_content_and_not_by_its_place(run_directory, tmp_path):
    shutil.copytree(run_directory, tmp_path / 'copy')
    found = pretrained.fingerprint(tmp_path / 'copy')
    assert found == pretrained.fingerprint(run_directory / 'saved_model')
    pb = tmp_path / 'copy' / 'saved_model' / 'saved_model.pb'
    pb.write_bytes(pb.read_bytes() + b'x')
    assert pretrained.fingerprint(tmp_path / 'copy') != found
    for name in ('a.h5', 'b.h5'):
        (tmp_path / name).write_bytes(b'weights')
    assert len({pretrained.fingerprint(tmp_path / name) for name in ('a.h5', 'b.h5')}) == 1


@pytest.mark.parametrize('inner', ['', 'saved_model'])
def test_loads_all_weights_of_a_run_or_a_saved_model(run_directory, inner):
    weights, report = pretrained.load(run_directory / inner, model())
    expected = by_name(model(), model().initial_weights(7))
    loaded = by_name(model(), weights)
    assert set(report.matched) == set(expected) and not report.fresh and not report.unused
    for name, value in expected.items():
        np.testing.assert_array_equal(loaded[name], value)
    assert report.matched_values == report.total_values == model().weight_counts().total
    assert '14 of 14 matched' in str(report)


def test_freezing_changes_the_order_but_not_the_names(run_directory):
    frozen_model = model(freeze='conv1,norm2')
    (trainable, frozen), _ = pretrained.load(run_directory, frozen_model)
    assert len(frozen) == 4 and len(trainable) == 10
    expected = by_name(model(), model().initial_weights(7))
    for name, value in by_name(frozen_model, (trainable, frozen)).items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_saved_model_of_a_frozen_backbone_loads_into_a_trained_one(tmp_path, run_directory):
    frozen_model = model(freeze='conv')
    backbone = frozen_model.build_backbone()
    weight_values.assign(backbone, *pretrained.load(run_directory, frozen_model)[0])
    models.ServingModel(backbone, SHAPE).save(str(tmp_path / 'frozen'))
    weights, report = pretrained.load(tmp_path / 'frozen', model())
    assert not report.fresh
    expected = by_name(model(), model().initial_weights(7))
    for name, value in by_name(model(), weights).items():
        np.testing.assert_array_equal(value, expected[name])


def test_another_embedding_size_is_refused_unless_partial(run_directory):
    other = model(embedding_dim=5)
    with pytest.raises(
        ValueError, match=r'embeddings/kernel is \d+x8 there, \d+x5 here'
    ) as info:
        pretrained.load(run_directory, other)
    assert '--pretrained_partial' in str(info.value) and '\n' not in str(info.value)
    weights, report = pretrained.load(run_directory, other, partial=True, seed=3)
    assert set(report.fresh) == {'embeddings/kernel', 'embeddings/bias'}
    assert 'fresh: embeddings/bias (8 there, 5 here)' in str(report)
    fresh = by_name(other, other.initial_weights(3))
    stored = by_name(model(), model().initial_weights(7))
    for name, value in by_name(other, weights).items():
        expected = fresh if name in report.fresh else stored
        np.testing.assert_array_equal(value, expected[name])


def test_another_backbone_is_refused(run_directory):
    with pytest.raises(ValueError, match='weights of backbone lenet do not fit'):
        pretrained.load(run_directory, model('lenet'))


def test_nothing_fits_is_refused_even_if_partial(run_directory, tmp_path):
    inputs = tf.keras.Input(SHAPE)
    outputs = tf.keras.layers.Dense(8, name='other')(tf.keras.layers.Flatten()(inputs))
    elsewhere = tf.keras.Model(inputs, outputs)
    models.ServingModel(elsewhere, SHAPE).save(str(tmp_path / 'other'))
    with pytest.raises(ValueError, match='none of its weights fits.*no weight of such a name'):
        pretrained.load(tmp_path / 'other', model(), partial=True)


def saved(path, **variables):
    """A SavedModel that is no Keras model, with variables under given names."""
    module = tf.Module()
    module.kept = [tf.Variable(value, name=name) for name, value in variables.items()]
    tf.saved_model.save(module, str(path))


def test_unused_weights_are_reported_and_missing_ones_refused(tmp_path):
    kernel = np.ones((3, 3, 1, 16), np.float32)
    saved(tmp_path / 'one', **{'conv1/kernel': kernel, 'head/kernel': np.ones(3, np.float32)})
    with pytest.raises(ValueError, match='13 of the 14 weights.*it lacks conv1/bias, .* more'):
        pretrained.load(tmp_path / 'one', model())
    weights, report = pretrained.load(tmp_path / 'one', model(), partial=True)
    assert report.matched == ('conv1/kernel',) and report.unused == ('head/kernel',)
    assert 'unused: head/kernel' in str(report)
    np.testing.assert_array_equal(by_name(model(), weights)['conv1/kernel'], kernel)


def test_as_many_values_in_another_shape_do_not_match(tmp_path):
    saved(
        tmp_path / 'turned',
        **{
            'conv1/kernel': np.ones((1, 3, 3, 16), np.float32),
            'conv1/bias': np.ones(16, np.float32),
        },
    )
    _, report = pretrained.load(tmp_path / 'turned', model(), partial=True)
    assert report.matched == ('conv1/bias',)
    assert report.fresh['conv1/kernel'] == '1x3x3x16 there, 3x3x1x16 here'


def test_saved_by_keras(tmp_path):
    backbone = model().build_backbone()
    weight_values.assign(backbone, *model().initial_weights(2))
    backbone.save(str(tmp_path / 'keras'))
    weights, report = pretrained.load(tmp_path / 'keras', model())
    assert not report.fresh
    for a, b in zip(weights[0], model().initial_weights(2)[0]):
        np.testing.assert_array_equal(a, b)


def test_values_that_are_not_finite_are_refused(tmp_path):
    backbone = model().build_backbone()
    backbone.trainable_variables[0].assign_add(tf.fill([3, 3, 1, 16], np.nan))
    models.ServingModel(backbone, SHAPE).save(str(tmp_path / 'nan'))
    with pytest.raises(ValueError, match='conv1/kernel holds values that are not finite'):
        pretrained.load(tmp_path / 'nan', model())


def test_missing_and_damaged(run_directory, tmp_path):
    with pytest.raises(FileNotFoundError, match='no such directory'):
        pretrained.load(tmp_path / 'nowhere', model())
    damaged = tmp_path / 'damaged'
    (damaged / 'variables').mkdir(parents=True)
    (damaged / 'saved_model.pb').write_bytes(b'')
    with pytest.raises(ValueError, match='cannot be read') as info:
        pretrained.load(damaged, model())
    assert '\n' not in str(info.value)
    source = run_directory / 'saved_model' / 'variables'
    for name in ('variables.index', 'variables.data-00000-of-00001'):
        contents = (source / name).read_bytes()
        (damaged / 'variables' / name).write_bytes(contents[: len(contents) // 2])
    with pytest.raises(ValueError, match='cannot be read'):
        pretrained.load(damaged, model())


@pytest.mark.parametrize(
    'statement, words, voids',
    [
        (None, 'not stated', False),
        ({'private': False, 'public_images_only': True, 'notice': 'Public.'}, 'Public.', False),
        ({'private': True, 'epsilon_user': 3.0}, 'epsilon of 3 comes on top', False),
        ({'private': False, 'epsilon_user': None}, 'NOT PRIVATE', True),
    ],
)
def test_origin(run_directory, tmp_path, statement, words, voids):
    run = tmp_path / 'run'
    shutil.copytree(run_directory, run)
    if statement is not None:
        (run / 'privacy.json').write_text(json.dumps(statement))
    for path in (run, run / 'saved_model'):
        assert pretrained.read_origin(path).voids_guarantee == voids
        assert words in str(pretrained.load(path, model())[1])


def test_assign_refuses_other_shapes():
    trainable, frozen = model().initial_weights(0)
    with pytest.raises(ValueError, match='those of backbone small_conv'):
        weight_values.assign(model(embedding_dim=5).build_backbone(), trainable, frozen)
    with pytest.raises(ValueError, match='those of backbone small_conv'):
        weight_values.assign(model().build_backbone(), trainable[:-1], [trainable[-1]])
