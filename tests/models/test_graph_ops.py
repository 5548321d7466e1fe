"""Graphs of SavedModels that could do more than compute are found without running them."""

import pathlib
import re
import subprocess
import sys
import types

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from dp_fedemb import evaluation
from dp_fedemb import models
from dp_fedemb.models import graph_ops

ROOT = pathlib.Path(__file__).parents[2]
SHAPE = (12, 12, 1)


def embed(images):
    return tf.reshape(tf.cast(images, tf.float32), [tf.shape(images)[0], 144])


def read_file(images, place):
    with tf.control_dependencies([tf.io.read_file('/etc/hostname')]):
        return embed(images)


def write_file(images, place):
    with tf.control_dependencies([tf.io.write_file(place, 'was here')]):
        return embed(images)


def print_to_file(images, place):
    with tf.control_dependencies([tf.print('was here', output_stream=f'file://{place}')]):
        return embed(images)


def python(images, place):
    return tf.reshape(tf.numpy_function(lambda x: x, [embed(images)], tf.float32), [-1, 144])


def data_set(images, place):
    lines = tf.data.TextLineDataset('/etc/hostname')
    count = lines.reduce(0.0, lambda count, line: count + 1)
    return embed(images) + count


def in_a_branch(images, place):
    return tf.cond(
        tf.reduce_sum(embed(images)) < 0,
        lambda: write_file(images, place),
        lambda: embed(images),
    )


def saves(images, place):
    with tf.control_dependencies(
        [
            tf.raw_ops.SaveV2(
                prefix=place,
                tensor_names=['a'],
                shape_and_slices=[''],
                tensors=[tf.constant(1)],
            )
        ]
    ):
        return embed(images)


UNSAFE = {
    read_file: 'ReadFile',
    write_file: 'WriteFile',
    print_to_file: 'PrintV2',
    python: 'PyFunc',
    data_set: 'TextLineDataset',
    in_a_branch: 'WriteFile',
    saves: 'SaveV2',
}


def saved(function, tmp_path):
    place = str(tmp_path / 'place')
    traced = tf.function(
        lambda images: {'embeddings': function(images, place)},
        input_signature=[tf.TensorSpec([None, *SHAPE], tf.uint8, 'images')],
    )
    module = tf.Module()
    module.call = traced
    tf.saved_model.save(module, str(tmp_path / 'model'), {'serving_default': traced})
    return tmp_path / 'model'


@pytest.mark.parametrize(
    'function, op', UNSAFE.items(), ids=lambda f: getattr(f, '__name__', f)
)
def test_ops_that_reach_outside_are_refused_before_they_run(tmp_path, function, op):
    path = saved(function, tmp_path)
    assert op in graph_ops.unsafe(path)
    with pytest.raises(ValueError, match=f'is a program, and the ops .*{op}') as error:
        evaluation.load_model(path)
    assert '\n' not in str(error.value) and not (tmp_path / 'place').exists()
    # Who accepts them by name gets the model.
    assert evaluation.load_model(path, accept_ops=graph_ops.unsafe(path))


@pytest.mark.parametrize('hidden', ['object', 'stands in', 'nobody'])
@pytest.mark.parametrize('function', [write_file, saves], ids=lambda f: f.__name__)
def test_the_saver_hides_nothing(tmp_path, function, hidden):
    path = saved(function, tmp_path) / 'saved_model.pb'
    whole = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graph = whole.meta_graphs[0]
    bodies = {each.signature.name: each for each in graph.graph_def.library.function}
    names = {name for name in bodies if not name.startswith('__inference__traced')}
    # The functions are called by what saves variables for TensorFlow 1 alone, and no list
    # of functions has them.
    saver = graph.saver_def.save_tensor_name.split(':')[0]
    for node in list(graph.graph_def.node):
        if node.name == saver:
            for number, name in enumerate(sorted(names)):
                node.attr[f'_hidden{number}'].func.name = name
        elif any(value.func.name in names for value in node.attr.values()):
            graph.graph_def.node.remove(node)
    for name in names:
        graph.object_graph_def.concrete_functions.pop(name, None)
        if hidden == 'stands in':
            bodies[name].attr['api_implements'].s = b'embedding'
    if hidden != 'object':
        for node in graph.object_graph_def.nodes:
            node.function.ClearField('concrete_functions')
            node.bare_concrete_function.ClearField('concrete_function_name')
    path.write_bytes(whole.SerializeToString())
    found = graph_ops.unsafe(path.parent)
    # What nobody can call may save, as the saver's own functions do.
    assert (UNSAFE[function] in found) == (hidden != 'nobody' or function is write_file)


def test_what_runs_at_loading_is_looked_at(tmp_path):
    (tmp_path / 'words').write_text('a\nb\n')

    class WithTable(tf.Module):
        def __init__(self):
            lines = tf.lookup.TextFileInitializer(
                str(tmp_path / 'words'), tf.string, 0, tf.int64, 1, delimiter=' '
            )
            self.table = tf.lookup.StaticHashTable(lines, -1)

        @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.uint8, 'images')])
        def call(self, images):
            return {'embeddings': embed(images)}

    (tmp_path / 'words').write_text('a 1\nb 2\n')
    module = WithTable()
    signatures = {'serving_default': module.call}
    tf.saved_model.save(module, str(tmp_path / 'model'), signatures)
    assert 'InitializeTableFromTextFileV2' in graph_ops.unsafe(tmp_path / 'model')


def write_at_restoring(graph, place):
    for node in graph.graph_def.node:
        if node.name == graph.saver_def.restore_op_name:
            restore = list(graph_ops._called(node))[1]
            node.Clear()
            node.name, node.op = graph.saver_def.restore_op_name, 'WriteFile'
            node.input.extend(['name', 'text'])
    for name, value in (('name', place), ('text', 'was here')):
        with tf.Graph().as_default() as made:
            tf.constant(value, name=name)
        graph.graph_def.node.extend(made.as_graph_def().node)
    functions = graph.graph_def.library.function
    [at] = [i for i, each in enumerate(functions) if each.signature.name == restore]
    del functions[at]


def save_at_restoring(graph, place):
    graph.saver_def.restore_op_name = graph.saver_def.save_tensor_name.split(':')[0]


def restore_another_file(graph, place):
    with tf.Graph().as_default() as made:
        tf.constant(place, name=graph.saver_def.filename_tensor_name.split(':')[0])
    for node in graph.graph_def.node:
        if node.name == graph.saver_def.filename_tensor_name.split(':')[0]:
            node.CopyFrom(made.as_graph_def().node[0])


@pytest.mark.parametrize(
    'change, op',
    [
        (write_at_restoring, 'WriteFile'),
        (save_at_restoring, 'SaveV2'),
        (restore_another_file, 'Const'),
    ],
)
def test_what_other_programs_run_at_restoring_is_looked_at(tmp_path, change, op):
    model = models.build_embedding_model('small_conv', SHAPE, 8)
    path = tmp_path / 'model'
    models.ServingModel(model.build_backbone(), SHAPE).save(str(path))
    assert graph_ops.unsafe(path) == []
    parsed = saved_model_pb2.SavedModel.FromString((path / 'saved_model.pb').read_bytes())
    change(parsed.meta_graphs[0], str(tmp_path / 'place'))
    (path / 'saved_model.pb').write_bytes(parsed.SerializeToString())
    # TFLite's converter restores so, and would write where the model says.
    assert op in graph_ops.unsafe(path)


# Those of ImageNet take tens of seconds to build.
BACKBONES = [
    pytest.param(name, marks=pytest.mark.soak if name in ('mobilenet_v2', 'resnet50') else ())
    for name in sorted(models.BACKBONES)
]


@pytest.mark.parametrize('backbone', BACKBONES)
def test_every_backbone_of_ours_passes(tmp_path, backbone):
    shape = (32, 32, 3)
    model = models.build_embedding_model(backbone, shape, 8)
    models.ServingModel(model.build_backbone(), shape).save(str(tmp_path / 'model'))
    assert graph_ops.unsafe(tmp_path / 'model') == []


def test_garbage_is_one_line(tmp_path):
    (tmp_path / 'saved_model.pb').write_bytes(b'\xff' * 100)
    with pytest.raises(ValueError, match='damaged SavedModel'):
        graph_ops.check(tmp_path)


def test_the_program_refuses(tmp_path):
    path = saved(write_file, tmp_path)
    command = [
        sys.executable,
        str(ROOT / 'bin' / 'embed.py'),
        f'--model={path}',
        '--task=synthetic',
        f'--cache_dir={tmp_path / "cache"}',
        f'--output={tmp_path / "out.npz"}',
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and 'the ops WriteFile of this one' in done.stderr
    assert 'Traceback' not in done.stderr and not (tmp_path / 'place').exists()


def test_the_programs_say_whose_model_they_run(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'bin')
    from flags import model_flags

    monkeypatch.setattr(model_flags, 'FLAGS', types.SimpleNamespace(accept_ops=['WriteFile']))
    model_flags.load(saved(write_file, tmp_path))
    said = capsys.readouterr().err
    assert 'no run here notes that it made it' in said
    assert '(WriteFile, accepted by you, may do more than compute)' in said


def test_nothing_else_loads_what_may_be_a_program():
    """All others read weights alone, or what this process has written just now."""
    loads = re.compile(
        r'saved_model\.load\(|models\.load_model\(|evaluation\.load_model\(|Interpreter\('
        r'|InferenceSession\(|inference\.load_model\(|hub\.load|pickle\.load|import_meta_graph'
        r'|allow_pickle=True|simple_save|SavedModelBundle'
    )
    found = {
        (place.relative_to(ROOT).as_posix(), match)
        for folder in ('dp_fedemb', 'bin', 'tasks')
        for place in (ROOT / folder).rglob('*.py')
        for match in loads.findall(place.read_text())
    }
    assert found == {
        ('bin/flags/model_flags.py', 'evaluation.load_model('),  # Says so, and checks.
        ('dp_fedemb/evaluation/inference.py', 'saved_model.load('),  # Checks.
        ('dp_fedemb/runs/estimator.py', 'inference.load_model('),  # Checks.
        # Of a model that was loaded before, or of the draft of an export.
        ('dp_fedemb/export/runtime.py', 'saved_model.load('),
        ('dp_fedemb/export/keras_file.py', 'models.load_model('),
        ('dp_fedemb/export/tflite.py', 'Interpreter('),
        ('dp_fedemb/export/onnx_file.py', 'InferenceSession('),
    }
