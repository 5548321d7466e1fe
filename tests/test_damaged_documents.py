"""JSON, TOML and CSV that somebody edited, cut or made up: one line, or read as it stands."""

import json
import os

import pytest

from dp_fedemb import privacy
from dp_fedemb.auditing import finished
from dp_fedemb.auditing import report
from dp_fedemb.data import cache
from dp_fedemb.data.images import preprocessing
from dp_fedemb.evaluation.figures import training_curves
from dp_fedemb.evaluation.report import writing
from dp_fedemb.gallery import thresholds
from dp_fedemb.models import pretrained
from dp_fedemb.models import saved_model
from dp_fedemb.privacy.reporting import utility_runs
from dp_fedemb.tuning import cells
from dp_fedemb.tuning import results
from dp_fedemb.tuning import running
from dp_fedemb.tuning import search
from dp_fedemb.tuning import table

FINGERPRINT = 64 * 'f'
METRIC = 'recall@FAR=0.001'
PLAN = privacy.PrivacyPlan(500, 4, 2, 10, privacy.Gaussian(1.0, 1.0))
CONFIG = {'plan': PLAN.to_json(), 'training': {'server_lr_schedule': 'constant'}}
EVALUATION = {
    'model_fingerprint': FINGERPRINT,
    'part': 'test',
    'points': [
        {'target_far': 0.1, 'threshold': 0.3, 'far': 0.1, 'recall': 0.5, 'reason': ''},
    ],
    'roc': [[0.1, 0.2, 0.3]],
    'genuine_pairs': 10,
    'impostor_pairs': 100,
}
SCORES = {'untrained': {METRIC: 0.1}, 'trained': {METRIC: 0.4}}


def _thresholds(path):
    thresholds.find(path.parent, FINGERPRINT, path)


def _utility(path):
    run = path.parent
    for name, document in (('config.json', CONFIG), ('evaluation.json', SCORES)):
        if path.name != name:
            (run / name).write_text(json.dumps(document))
    utility_runs.read([run], METRIC)


def _origin(path):
    model = path.parent / 'saved_model'
    model.mkdir(exist_ok=True)
    (model / 'saved_model.pb').touch()
    pretrained.read_origin(path.parent)


def _preprocessing(path):
    (path.parent / 'saved_model.pb').touch()
    saved_model.read_preprocessing(path.parent)


def _statement(path):
    (path.parent / 'privacy.txt').write_text('text')
    writing.statement_of(path.parent)


def _plan(path):
    finished.read_plan(path.parent)


def _claim(path):
    finished.statement_checks(path.parent, PLAN)


def _audit(path):
    report.write(path.parent, 'noise', {})


def _record(path):
    directory = path.parent
    cell = cells.Cell(path.stem, 'train', RECORD['flags'], RECORD['shown'])
    found = running.read_records([cell], directory)
    rows = [row for record in found.values() for row in results.rows(record)]
    results.to_csv(rows)
    results.to_markdown(results.over_seeds(rows, [METRIC]))


def _sums(path):
    cache.file_fingerprint(__file__, path.parent)


RECORD = {
    'program': 'train',
    'command': '',
    'flags': {'client_lr': '0.1'},
    'shown': {'client_lr': '0.1'},
    'wall_seconds': 3.5,
    'evaluation': SCORES,
    'privacy': {'epsilon_user': 3.0, 'num_users': 100},
}
PRINTED = {
    **{key: value for key, value in RECORD.items() if key not in ('evaluation', 'privacy')},
    'printed': {
        'users_needed': [{'virtual_clients_per_round': 4, 'num_users': 9}],
        'points': [{'virtual_clients_per_round': 4, 'num_users': 9, 'epsilon_user': 2.0}],
        'target_epsilon': 2.0,
    },
}
# Reader -> name of its file, and what is in it.
STATEMENT = privacy.statement(PLAN)
READERS = {
    _thresholds: ('evaluation.json', EVALUATION),
    _utility: ('config.json', CONFIG),
    (lambda path: _utility(path)): ('evaluation.json', SCORES),
    _origin: ('privacy.json', STATEMENT),
    (lambda path: _origin(path)): (
        'privacy.json',
        {'public_images_only': True, 'notice': 'public'},
    ),
    _preprocessing: (
        saved_model.PREPROCESSING,
        preprocessing.Preprocessing(8).record(),
    ),
    _statement: ('privacy.json', {'epsilon_user': 1.0}),
    _plan: ('config.json', CONFIG),
    _claim: ('privacy.json', {'rounds_completed': 10, 'epsilon_user': 3.0}),
    _audit: (report.NAME, {'noise': {'bounds': []}}),
    _sums: ('fingerprints.json', {}),
    _record: ('trial_1.json', RECORD),
    (lambda path: _record(path)): ('printed.json', PRINTED),
}


@pytest.mark.parametrize('reader', READERS, ids=lambda reader: READERS[reader][0])
def test_json(reader, tmp_path, mutations):
    name, document = READERS[reader]
    path = tmp_path / name
    path.write_text(json.dumps(document))
    reader(path)
    read = 0
    for content in mutations.damaged_texts(document):
        path.write_bytes(content)
        with mutations.one_line(ValueError, FileNotFoundError):
            reader(path)
            read += 1
    path.unlink()
    os.mkfifo(path)
    with mutations.one_line(ValueError, FileNotFoundError), mutations.no_hang():
        reader(path)
    path.unlink()
    assert read


CSV = 'round,epsilon_user,recall@FAR=0.001,ratio,recall\n' + '1,0.5,0.25,0.1,0.4\n' * 4
GRID = 'client_lr = [0.1, 1]\n[client_momentum]\nlow = 0.1\nhigh = 0.9\nlog = true\n'
TABLE = """title = 'A table'
question = 'Which?'
x = 'client_lr'
y = 'recall'
by = 'head'
rows = [{program = 'train', flags = {client_lr = 0.1}, only = ['small']}]
[scales.small]
rounds = 3
"""
TEXTS = {
    training_curves: ('metrics.csv', CSV),
    utility_runs.read_table: ('curve.csv', CSV),
    search.read: ('grid.toml', GRID),
    table.read: ('table.toml', TABLE),
}


@pytest.mark.parametrize('each', [40, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize('reader', TEXTS, ids=lambda reader: TEXTS[reader][0])
def test_tables(reader, each, tmp_path, mutations):
    name, text = TEXTS[reader]
    path = tmp_path / name
    path.write_text(text)
    reader(path)
    odd = [text.replace('0.1', value) for value in ('nan', 'inf', '-1', '1e999', '"', '[', '')]
    odd += [text.encode('utf-16'), text.encode('utf-8-sig'), b'', b'\xff', 10**6 * b'a,']
    odd += ['x = ' + 10**5 * '[', text + '"' + 200_000 * 'a', text.replace(',', '\0')]
    random = mutations.generator(7, len(name))
    odd += [mutations.mutated(text.encode(), random) for _ in range(each)]
    for content in odd:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with mutations.one_line(ValueError, FileNotFoundError):
            reader(path)
