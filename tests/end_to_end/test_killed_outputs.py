"""Programs that write results are killed at file operations, and their files are whole.

Searches and tables run trials of a stand-in for bin/train.py, everything around is theirs.
"""

import dataclasses
import json
import os
import pathlib
import runpy
import shutil
import sys
import time
import types

from matplotlib import figure
import numpy as np
import pytest

from dp_fedemb import configured_directory
from dp_fedemb import export as export_lib
from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.auditing import report as audit_report
from dp_fedemb.data import example_spec as example_spec_lib
from dp_fedemb.evaluation import result_table
from dp_fedemb.evaluation.figures import drawing
from dp_fedemb.evaluation.report import writing
from dp_fedemb.export import checking
from dp_fedemb.export import release
from dp_fedemb.export import runtime
from dp_fedemb.export import saved_model_copy
from dp_fedemb.gallery import clustering
from dp_fedemb.gallery import index_file
from dp_fedemb.privacy import ledger
from dp_fedemb.privacy.reporting import extrapolation_figure
from dp_fedemb.tuning import cells as cells_lib
from dp_fedemb.tuning import running

ROOT = pathlib.Path(__file__).resolve().parents[2]
METRIC = 'recall@FAR=0.001'
# What a trial leaves: as bin/train.py does, each file in one step.
TRIAL = f"""
import json, os, pathlib, sys
values = dict(word[2:].split('=', 1) for word in sys.argv[1:] if '=' in word)
run = pathlib.Path(values['output_dir'])
(run / 'saved_model').mkdir(parents=True, exist_ok=True)
scores = {{'trained': {{{METRIC!r}: float(values['client_lr'])}}}}
for name, content in (
    ('saved_model/saved_model.pb', values['client_lr']),
    ('evaluation.json', json.dumps(scores)),
    ('config.json', '{{}}'),
    ('privacy.json', (pathlib.Path(__file__).parent / 'privacy.json').read_text()),
):
    (run / 'draft').write_text(content)
    os.replace(run / 'draft', run / name)
"""
PLAN = privacy.PrivacyPlan(
    num_users=3400,
    virtual_clients_per_round=32,
    users_per_virtual_client=8,
    rounds=20,
    mechanism=privacy.Gaussian(clip_norm=1.0, noise_multiplier=1.0),
)


@pytest.fixture(scope='module')
def statement():
    """Of a trial by itself."""
    return privacy.statement(PLAN, start='fresh')


@pytest.fixture
def program(statement, tmp_path):
    """Function that loads a program of bin/ in a fork; its trials are the stand-in's."""
    (tmp_path / 'code' / 'bin').mkdir(parents=True)
    (tmp_path / 'code' / 'bin' / 'train.py').write_text(TRIAL)
    json_files.write(tmp_path / 'code' / 'bin' / 'privacy.json', statement)

    def load(name, *arguments):
        sys.path.insert(0, str(ROOT / 'bin'))
        from flags import many_runs
        from flags import program as program_lib

        caught = []
        program_lib.run = lambda main, positional=0: caught.append(main)
        sys.argv = [str(ROOT / 'bin' / f'{name}.py'), *arguments]
        runpy.run_path(sys.argv[0], run_name='__main__')
        program_lib.flags.FLAGS(sys.argv)
        many_runs.ask = lambda request: {
            'runs': [{'private': True, 'task': 'synthetic'}] * len(request['runs']),
            'store': str(tmp_path / 'store'),
            'epsilon_user': 25.0,
            'epsilon_present_absent': 12.0,
            'single_epsilons': [13.0] * len(request['runs']),
            'noise_multipliers': [1.0] * len(request['runs']),
            'plans': [PLAN.to_json()] * len(request['runs']),
            'delta': 1e-5,
            'commands': {'bin/privacy.py epsilon': len(request['runs'])},
        }
        # The same seconds and seeds in every life.
        running.time = types.SimpleNamespace(
            monotonic=lambda: 0.0, sleep=lambda s: time.sleep(s / 10)
        )
        randomness.new_secret_seed = lambda: 7
        main = caught[0]
        main.__globals__['ROOT'] = tmp_path / 'code'
        return main

    (tmp_path / 'store').mkdir()
    return load


def sweep(program, root, mode):
    main = program(
        'sweep', f'--mode={mode}', f'--output_dir={root}', '--vary=client_lr=0.25,0.5',
        *(['--mean_trials=2'] if mode == 'selection' else []),
        f'--metric={METRIC}',
    )  # fmt: skip
    return lambda: main([])


def reproduce(program, root):
    main = program(
        'reproduce', '--table=head_lr', '--task=synthetic', f'--output_dir={root}/tables',
        f'--publish={root}/published',
    )  # fmt: skip
    table = types.SimpleNamespace(
        name='table', title='T', question='Q?', x='rate', y=METRIC, by='task', log_x=False,
        log_y=False,
    )  # fmt: skip
    cells = [
        cells_lib.Cell(str(rate), 'train', {'client_lr': rate}, {'rate': rate, 'task': 'all'})
        for rate in (0.25, 0.5)
    ]
    directory = configured_directory.ConfiguredDirectory(root / 'tables', 'table')
    return lambda: main.__globals__['_fill'](table, cells, directory)


class Result:
    """An evaluation to be written."""

    values = types.MappingProxyType({'recall': 0.5})
    show_images = False
    tables = (
        result_table.Table('shown', 'T', [result_table.Column('a')], [['x']]),
        result_table.Table(
            'users', 'T', [result_table.Column('a')], [['x']], names_people=True
        ),
    )

    def figures(self):
        return {'overview': figure.Figure((1, 1))}

    def report(self, drawn):
        return f'{len(drawn)} figures'

    def write_more(self, directory):
        (directory / 'metadata.tsv').write_text('more')


def gallery(root):
    """A report, an index, groups, an audit and a figure."""
    pictures = {name: index_file.Picture((1, 2, 3), name) for name in ('a/1.png', '2.png')}
    embeddings = np.eye(2, dtype=np.float32)
    index = index_file.Index(str(root), 'model', {}, pictures, embeddings, {})

    def work():
        files.make_directory(root)
        index_file.write(root / 'index', index)
        assert index_file.read(root / 'index').paths == list(pictures)
        writing.write(root / 'report', Result(), plots=True)
        groups = clustering.cluster(index, 0.5)
        files.write_text(root / 'groups.csv', clustering.csv_text(groups))
        if not (root / 'groups').exists():
            clustering.write_links(root / 'groups', groups, index.folder)
        for command in ('noise', 'canaries'):
            audit_report.write(root, command, {'bound': 1.0})
        drawing.save({'noise': figure.Figure((1, 1))}, root)
        extrapolation_figure.save(figure.Figure((1, 1)), str(root / 'plan.png'))

    return work


@dataclasses.dataclass(frozen=True)
class Exportable:
    """A SavedModel whose embeddings are its pictures, for formats that need no runtime."""

    path: pathlib.Path
    example_spec: example_spec_lib.ExampleSpec = example_spec_lib.ExampleSpec((1, 1, 2))
    fingerprint: str = 'model'

    def check_unchanged(self):
        """Nobody replaces it."""

    def __call__(self, examples):
        return np.reshape(examples, [-1, 2]) / np.linalg.norm(
            np.reshape(examples, [-1, 2]), axis=-1, keepdims=True
        )


def export(root, statement):
    """An export, and another one in its place."""
    path = root.parent / 'run' / 'saved_model'
    if not path.exists():
        (path / 'variables').mkdir(parents=True)
        (path / 'variables' / 'data').write_bytes(bytes(100))
        (path / 'saved_model.pb').write_bytes(b'graph')
        json_files.write(path.parent / 'privacy.json', statement)
    model = Exportable(path)

    def write(saved_model, place, calibration):
        place.write_bytes(bytes(calibration.ravel()))

    formats = {
        'saved_model': runtime.Format(
            'saved_model', 'SavedModel', saved_model_copy.write, lambda path: model
        ),
        'quantised': runtime.Format('model.bin', 'bytes', write, lambda path: model),
    }
    examples = np.array([[3, 4], [5, 12], [8, 15], [4, 3]], np.uint8).reshape(4, 1, 1, 2)
    checked_on = export_lib.CheckSet(examples, np.array([0, 0, 1, 1]), 'four pictures')

    def work():
        # Recall is TensorFlow's work, whose threads a fork does not have.
        checking.evaluation.recall_at_far = lambda *arguments: []
        release.formats_lib.FORMATS.clear()
        release.formats_lib.FORMATS.update(formats)
        versions = [
            export_lib.Calibration(examples[:count], f'{count} pictures') for count in (1, 2)
        ]
        if (root / 'export').exists():
            # Of a kill, and whole: its files fit each other.
            known = json.loads((root / 'export' / 'formats.json').read_text())
            number = known['formats']['quantised']['bytes'] // 2
            assert (root / 'export' / 'model.bin').stat().st_size == 2 * number
            assert (root / 'export' / 'model_card.md').exists()
        for version in versions:
            export_lib.export(model, root / 'export', list(formats), checked_on, version)

    return work


def tree(root):
    return {
        str(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else (path.read_bytes(), oct(path.stat().st_mode))
        for path in sorted(root.rglob('*'))
        if not path.is_dir()
    }


WRITERS = {
    'public': lambda program, root: sweep(program, root, 'public'),
    'composed': lambda program, root: sweep(program, root, 'composed'),
    'selection': lambda program, root: sweep(program, root, 'selection'),
    'reproduce': reproduce,
    'gallery': lambda program, root: gallery(root),
    'export': lambda program, root: export(root, privacy.statement(PLAN, start='fresh')),
}
# What grows while a trial runs, and is for people.
LOGS = ('log.txt', 'stdout.txt')


@pytest.mark.parametrize(
    'sample', [True, pytest.param(False, marks=pytest.mark.soak)], ids=['sample', 'all']
)
@pytest.mark.parametrize('writer', sorted(WRITERS))
def test_killed_at_file_operations(program, in_fork, file_shim, tmp_path, writer, sample):
    root, notes = tmp_path / 'out', tmp_path / 'notes'

    def life(kill_at=None):
        def work():
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            act = WRITERS[writer](program, root)
            with file_shim.Shim(root, kill_at).installed() as shim:
                act()
            notes.write_text(json.dumps([shim.count, shim.in_place]))

        return in_fork(work)

    assert life() == 0
    undisturbed = tree(root)
    count, in_place = json.loads(notes.read_text())
    # Whatever has a name that somebody reads appears whole.
    assert not [path for path in in_place if os.path.basename(path) not in LOGS]
    assert count > 30 and len(undisturbed) > 3
    # A prime, so that all kinds of operations are met.
    for number in range(1, count + 1, 23 if sample else 1):
        shutil.rmtree(root)
        shutil.rmtree(tmp_path / 'store')
        (tmp_path / 'store').mkdir()
        assert life(number) == file_shim.KILLED, number
        assert life() == 0, number
        assert tree(root) == undisturbed, number
        if writer == 'selection':
            # One run, however often it was begun.
            assert len(ledger.read(tmp_path / 'store').latest()) == 1
