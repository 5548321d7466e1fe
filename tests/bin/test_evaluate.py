"""bin/evaluate.py and bin/embed.py as they are called, and what they refuse.

Most calls run `main` in this process, because loading TensorFlow takes seconds; one of
each program runs as users do.
"""

import contextlib
import importlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

from absl import flags
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from dp_fedemb import models

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPE = (16, 16, 1)
TABLES = {
    'evaluation.json',
    *(f'{name}.csv' for name in ('verification', 'figures', 'baselines', 'roc', 'spread')),
    *(f'{name}.csv' for name in ('users_by_images', 'identities', 'users')),
}
TASK = [
    '--task=synthetic',
    '--task_option=num_users=4',
    '--task_option=test_identities=30',
    '--task_option=public_identities=0',
    '--task_option=image_size=16',
    '--task_option=images_per_identity=8',
    '--task_option=identities_per_user=1',
]


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    """A run directory with a small untrained model, metrics and a statement."""
    path = tmp_path_factory.mktemp('workspace')
    tf.keras.utils.set_random_seed(0)
    model = models.build_embedding_model('small_conv', SHAPE, 8)
    models.ServingModel(model.build_backbone(), SHAPE).save(str(path / 'run/saved_model'))
    (path / 'run' / 'config.json').write_text('{}')
    (path / 'run' / 'metrics.csv').write_text(
        'round,epsilon_user,recall@FAR=0.01\n1,0.5,\n2,0.9,0.1\n3,1.2,\n4,1.5,0.3\n'
    )
    statement = {'private': True, 'epsilon_user': 1.5, 'delta': 1e-5}
    (path / 'run' / 'privacy.json').write_text(json.dumps(statement))
    (path / 'run' / 'privacy.txt').write_text('PRIVACY STATEMENT <of this run>')
    return path


@pytest.fixture(scope='module')
def programs():
    """The programs as modules, each with flags of its own."""
    sys.path.insert(0, str(ROOT / 'bin'))
    yield {name: _load(name) for name in ('evaluate', 'embed')}
    sys.path.remove(str(ROOT / 'bin'))
    _forget('evaluate', 'embed')


def _forget(*names):
    """Drops programs, and what they share, which keeps the flags it was loaded with."""
    for name in list(sys.modules):
        if name in names or name.split('.')[0] == 'flags':
            del sys.modules[name]


def _load(name):
    """Imports a program while absl's global flags are set aside."""
    kept = flags.FLAGS
    own = flags.FlagValues()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags, 'FLAGS', own)
        _forget(name)
        for define in ('string', 'bool', 'integer', 'list', 'float', 'multi_string', 'enum'):
            original = getattr(flags, f'DEFINE_{define}')

            def defined(*args, _original=original, **kwargs):
                return _original(*args, flag_values=own, **kwargs)

            patch.setattr(flags, f'DEFINE_{define}', defined)
        patch.setattr(flags, 'adopt_module_key_flags', lambda module: None)
        program = importlib.import_module(name)
    assert flags.FLAGS is kept
    return program


def call(program, workspace, *arguments, positional=()):
    """Runs `main` with flags; returns what it printed."""
    program.FLAGS.unparse_flags()
    for name in program.FLAGS:
        program.FLAGS[name].unparse()
    of_task = not any(argument.startswith('--input=') for argument in arguments)
    cache = [f'--cache_dir={workspace}/cache'] if of_task else []
    program.FLAGS([program.__name__, f'--model={workspace}/run', *cache, *arguments])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        program.main(list(positional))
    return printed.getvalue()


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / 'bin' / f'{name}.py'), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_report_as_users_make_it(workspace):
    output = workspace / 'report'
    done = run(
        'evaluate',
        *TASK,
        f'--model={workspace}/run',
        f'--cache_dir={workspace}/cache',
        '--plots',
        f'--output_dir={output}',
        '--fars=1e-1,1e-9',
        '--show_images',
        '--projector',
    )
    assert done.returncode == 0, done.stderr
    assert '840 genuine and 27,840 impostor pairs' in done.stdout
    assert 'not resolvable' in done.stdout and 'precision@1' in done.stdout
    assert 'whitened PCA: ' in done.stdout and 'The model' in done.stdout
    figures = ('overview', 'roc', 'similarities', 'embedding_map')
    figures += ('recall_by_round', 'recall_by_epsilon')
    events = {path.name for path in output.glob('events.out.tfevents.*')}
    assert len(events) == 1
    assert {path.name for path in output.iterdir()} - events == {
        *TABLES,
        *(f'{name}.png' for name in figures),
        'report.html',
        'projector_config.pbtxt',
        'tensors.tsv',
        'metadata.tsv',
        'sprites.png',
    }
    report = (output / 'report.html').read_text()
    assert 'PRIVACY STATEMENT &lt;of this run&gt;' in report and 'epsilon = 1.5' in report
    # Eight rows of an image and its eight neighbours.
    assert report.count('data:image/png;base64,') == len(figures) + 72
    assert report.count('<li class="self">') == 8
    assert 'src="http' not in report and '<script' not in report
    for name in figures:
        with Image.open(output / f'{name}.png') as picture:
            assert np.asarray(picture.convert('L')).std() > 5
    assert not list(workspace.glob('*.partial-*'))


def test_json_and_figures_agree(workspace, programs):
    from dp_fedemb import evaluation
    import tasks

    values = json.loads(
        call(
            programs['evaluate'],
            workspace,
            *TASK,
            '--json',
            '--metrics=verification',
            '--fars=0.1,1e-9',
        )
    )
    options = dict(text.split('=', 1)[1].split('=') for text in TASK[1:])
    task = tasks.build_task(
        'synthetic', tasks.TaskConfig(cache_dir=f'{workspace}/cache', options=options)
    )
    model = evaluation.load_model(workspace / 'run')
    embeddings = evaluation.embed(model, task.test.examples)
    (expected,) = evaluation.recall_at_far(embeddings, task.test.identities, [0.1])
    assert values['metrics']['recall@FAR=0.1'] == pytest.approx(expected.recall, abs=1e-3)
    assert values['points'][0]['accepted_impostors'] <= 2784
    assert values['metrics']['recall@FAR=1e-09'] is None
    assert values['points'][0]['low'] < values['points'][0]['high']
    assert [other['name'] for other in values['baselines']] == ['pixels', 'whitened PCA']
    assert values['headline_far'] == 0.1 and 'at FAR 0.1' in values['verdict']
    assert (values['num_images'], values['num_identities']) == (240, 30)


def test_report_without_a_statement_says_so(workspace, programs):
    path = workspace / 'alone'
    output = call(
        programs['evaluate'],
        workspace,
        *TASK,
        f'--model={workspace}/run/saved_model',
        '--metrics=verification',
        f'--output_dir={path}',
    )
    assert {p.name for p in path.iterdir()} == TABLES and 'written to' in output
    from dp_fedemb.evaluation.report import page
    from dp_fedemb.evaluation.report import words

    values = json.loads((path / 'evaluation.json').read_text())
    assert words.NO_STATEMENT in page.build(values, [], {})


def test_models_side_by_side(workspace, programs):
    path = workspace / 'both'
    shutil.copytree(workspace / 'run', workspace / 'again')
    printed = call(
        programs['evaluate'],
        workspace,
        *TASK,
        '--model=',
        '--compare',
        '--plots',
        f'--output_dir={path}',
        positional=[f'{workspace}/run', f'{workspace}/again'],
    )
    values = json.loads((path / 'evaluation.json').read_text())
    (difference,) = values['differences']
    assert (difference['one'], difference['other']) == ('run', 'again')
    # One model, twice.
    assert difference['difference'] == difference['low'] == difference['high'] == 0
    assert 'it is not clearly better than' in printed
    assert [model['epsilon_user'] for model in values['models']] == [1.5, 1.5]
    assert {p.name for p in path.iterdir()} == {
        'evaluation.json',
        'models.csv',
        'differences.csv',
        'recalls.csv',
        'overview.png',
        'roc.png',
        'report.html',
    }
    for positional, words in (
        ([f'{workspace}/run'], 'expected at least two directories'),
        ([f'{workspace}/run'] * 2, 'is named twice'),
        ([f'{workspace}/run', f'{workspace}/nowhere'], 'no such directory'),
    ):
        with pytest.raises((ValueError, OSError), match=words):
            call(
                programs['evaluate'],
                workspace,
                *TASK,
                '--model=',
                '--compare',
                positional=positional,
            )


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--metrics=accuracy'], 'metrics=.accuracy.: expected one of verification'),
        (['--metrics=pairs'], 'metric pairs: the task has no list of pairs'),
        (['--part=validation'], 'part=.validation.: task synthetic has train, test'),
        (['--fars=1.5'], 'fars=1.5: expected a number of at least 1e-12 and below 1'),
        (['--fars=few'], "fars='few': expected numbers"),
        (['--model={workspace}/nowhere'], 'no such directory'),
        (['--model={workspace}'], 'no SavedModel here'),
        (['--task_option=image_size=12'], 'examples of 16x16x1, the data are of 12x12x1'),
        (['--groups=parent'], 'groups=parent: no folder is around those'),
        (['--plots'], 'give --output_dir as well'),
        (['--output_dir={workspace}/run'], 'is the directory of a run'),
    ],
)
def test_bad_input(workspace, programs, arguments, words):
    output = workspace / 'bad'
    arguments = [text.format(workspace=workspace) for text in arguments]
    if not any(a.startswith(('--output_dir', '--plots')) for a in arguments):
        arguments.append(f'--output_dir={output}')
    with pytest.raises((ValueError, OSError), match=words):
        call(programs['evaluate'], workspace, *TASK, *arguments)
    assert not output.exists() and not list(workspace.glob('*.partial-*'))


def test_error_is_one_line_and_exit_code_is_not_zero(workspace):
    done = run('evaluate', *TASK, f'--model={workspace}/nowhere')
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith('error: model=')
    assert 'Traceback' not in done.stderr


def test_nothing_half_written(workspace, programs, monkeypatch):
    """The report fails after the pictures are drawn."""
    from dp_fedemb.evaluation.report import page

    def fail(*_):
        raise ValueError('disk full')

    monkeypatch.setattr(page, 'build', fail)
    with pytest.raises(ValueError, match='disk full'):
        call(
            programs['evaluate'],
            workspace,
            *TASK,
            '--plots',
            f'--output_dir={workspace}/broken',
        )
    assert not list(workspace.glob('broken*'))


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Pictures of several sizes and modes in two folders."""
    path = tmp_path_factory.mktemp('pictures')
    (path / 'deep').mkdir()
    rng = np.random.default_rng(0)
    for name, mode, size in (
        ('a.png', 'L', (16, 16)),
        ('b.jpg', 'RGB', (40, 24)),
        ('deep/c.png', 'RGBA', (9, 9)),
        ('deep/d.png', '1', (105, 105)),
        ('e.gif', 'P', (30, 31)),
    ):
        pixels = rng.integers(0, 256, (size[1], size[0], 4), np.uint8)
        Image.fromarray(pixels, 'RGBA').convert('RGB').convert(mode).save(path / name)
    (path / 'notes.txt').write_text('no picture')
    return path


def test_embeds_a_folder(workspace, programs, pictures):
    from dp_fedemb import evaluation

    output = workspace / 'folder.npz'
    printed = call(
        programs['embed'],
        workspace,
        f'--input={pictures}',
        f'--output={output}',
        '--eval_batch_size=2',
    )
    assert '5 embeddings of 8 numbers' in printed
    with np.load(output) as arrays:
        assert list(arrays['paths']) == ['a.png', 'b.jpg', 'deep/c.png', 'deep/d.png', 'e.gif']
        np.testing.assert_allclose(np.linalg.norm(arrays['embeddings'], axis=1), 1, atol=1e-6)
        pixels = np.asarray(Image.open(pictures / 'a.png')).reshape(1, *SHAPE)
        expected = evaluation.embed(evaluation.load_model(workspace / 'run'), pixels)
        np.testing.assert_allclose(arrays['embeddings'][:1], expected, atol=1e-5)


def test_broken_pictures(workspace, programs, tmp_path, capsys):
    Image.new('L', (20, 20), 128).save(tmp_path / 'good.png')
    (tmp_path / 'bad.png').write_bytes(b'no image')
    output = tmp_path / 'embeddings.npz'
    arguments = [f'--input={tmp_path}', f'--output={output}']
    with pytest.raises(ValueError, match=r'1 broken image\(s\), at most 0 .* bad.png'):
        call(programs['embed'], workspace, *arguments)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['bad.png', 'good.png']
    call(programs['embed'], workspace, *arguments, '--max_broken=1')
    assert 'skipped: bad.png' in capsys.readouterr().err
    with np.load(output) as arrays:
        assert list(arrays['paths']) == ['good.png']


def test_embeds_a_part_of_a_task(workspace):
    output = workspace / 'part.npz'
    done = run(
        'embed',
        *TASK,
        f'--model={workspace}/run',
        f'--cache_dir={workspace}/cache',
        '--part=train',
        f'--output={output}',
    )
    assert done.returncode == 0, done.stderr
    with np.load(output) as arrays:
        assert arrays['embeddings'].shape == (32, 8)
        assert len(set(arrays['users'])) == 4 and len(set(arrays['identities'])) == 4


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--output=embeddings.txt', '--input=.'], 'expected the name of a file, NAME.npz'),
        (['--output=e.npz', '--input={empty}'], 'no picture in it or below'),
        (['--output=e.npz', '--input={empty}/nowhere'], 'no such directory'),
        (['--output=e.npz', '--part=public'], 'part=.public.: task synthetic has'),
    ],
)
def test_embed_bad_input(workspace, programs, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    arguments = [text.format(empty=tmp_path / 'empty') for text in arguments]
    with pytest.raises((ValueError, OSError), match=words):
        task = [] if '--input' in ''.join(arguments) else TASK
        call(programs['embed'], workspace, *task, *arguments)
    assert [p.name for p in tmp_path.iterdir()] == ['empty']


def test_the_task_is_that_of_the_run(programs, workspace, tmp_path, capsys):
    run = tmp_path / 'run'
    shutil.copytree(workspace / 'run', run)
    options = [text.partition('=')[2] for text in TASK[1:]]
    known = {'task': 'synthetic', 'data_seed': 3, 'max_examples_per_user': None}
    # Of two values of an option the last one counts, as when the run was trained.
    options = ['image_size=8', *options]
    (run / 'config.json').write_text(json.dumps({**known, 'task_option': options}))

    def figures(*arguments):
        printed = call(programs['evaluate'], workspace, f'--model={run}', '--json', *arguments)
        return json.loads(printed), capsys.readouterr().err

    found, said = figures()
    given, silent = figures(*TASK, '--data_seed=3')
    assert found == given and 'trained' not in silent
    assert f'note: as {run} was trained: --task_option=image_size=16' in said
    assert '--data_seed=3' in said
    other, said = figures('--task_option=test_identities=20', '--data_seed=4')
    assert other['num_users'] == 20 and 'image_size=16' in said
    assert f'task_option test_identities: {run} was trained with 30, and this is 20' in said
    assert f'data_seed: {run} was trained with 3, and this is 4' in said
    # As far as any damage goes: a run that says nothing changes nothing.
    for damaged in ('{', '[]', json.dumps({**known, 'task_option': [3]}), '{"task": []}'):
        (run / 'config.json').write_text(damaged)
        programs['evaluate'].run_task.follow([str(run)])
    (run / 'config.json').unlink()
    os.mkfifo(run / 'config.json')
    programs['evaluate'].run_task.follow([str(run)])
    assert capsys.readouterr().err == ''
