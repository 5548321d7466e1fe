"""A run's whole life under SIGKILL at random moments, without TensorFlow's steps.

Conversion, pretraining, rounds, evaluation, export and a report are the real code; the
training steps and the evaluation are fakes, so that twenty kills take seconds. The same
with all of it, and with workers, is in end_to_end/test_lives.py.
"""

import collections
import os
import pathlib
import random
import signal
import time
import types

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import drafts
from dp_fedemb import files
from dp_fedemb.data import cache
from dp_fedemb.models import pretrained
from dp_fedemb.pretraining import pretrain
from dp_fedemb.privacy import ledger
from dp_fedemb.runs import starts

SEED = 2**100 + 7
KILLS = 20
USERS = 12


def convert(directory):
    generator = np.random.default_rng(0)
    with data.UserStoreWriter(directory / 'train', (4, 4, 1)) as writer:
        for user in range(USERS):
            images = generator.integers(0, 256, (3, 4, 4, 1), np.uint8)
            writer.add_user(images, [user] * 3)
            time.sleep(0.002)


def note_stage(directory, name):
    (directory / 'stage').write_text(name)


def live(make_experiment, directory):
    """All of it, from the beginning or from where it was."""
    note_stage(directory, 'conversion')
    store = cache.cached_stores(directory / 'cache', 'task', {}, convert)['train']
    model = make_experiment().model

    def load():
        note_stage(directory, 'pretraining')
        pretrain.pretrain_once(directory / 'run' / 'pretrained', model, store)
        weights = directory / 'run' / 'pretrained' / 'saved_model' / 'weights'
        note_stage(directory, 'rounds')
        return [np.frombuffer(weights.read_bytes(), np.float32)], []

    note_stage(directory, 'rounds')
    start = starts.Start(load, pretrained.Origin('public', voids_guarantee=False))
    scores = make_experiment(train=store, start=start).run(directory / 'run', SEED)
    note_stage(directory, 'report')
    with files.appearing_files(directory / 'report') as draft:
        (draft / 'evaluation.json').write_text(str(scores))
        time.sleep(0.005)
        (draft / 'report.html').write_text('report')


@pytest.fixture
def pretrains(monkeypatch):
    """Pretraining whose training is a fake and whose files are not."""

    def save(model, weights, path, *unused):
        path.mkdir()
        (path / 'weights').write_bytes(np.asarray(weights[0][0]).tobytes())

    def train(*unused):
        time.sleep(0.01)
        return ([np.arange(3, dtype=np.float32)], []), [{'epoch': 1}]

    # Only a power cut needs it, and here it is most of the time.
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)
    monkeypatch.setattr(pretrain, 'pretrain', train)
    monkeypatch.setattr(pretrain, '_save_model', save)
    monkeypatch.setattr(pretrain, '_source', lambda *unused: {'source': 'fake'})


def contents(directory):
    """All files but those that may know of kills, and the spent epsilon."""
    found = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob('*')
        if path.is_file() and 'privacy_ledger' not in path.name
    }
    spent = ledger.read(directory / 'cache' / 'task' / folder_of(directory) / 'train')
    return {**found, 'spent': (spent.spent(), spent.problems)}


def folder_of(directory):
    (folder,) = os.listdir(directory / 'cache' / 'task')
    return folder


def killed(pid, after_s):
    """Kills a fork after some time; whether it was killed."""
    until = time.monotonic() + after_s
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_lives_under_kills_end_as_the_undisturbed_one(
    make_experiment, pretrains, fork, tmp_path
):
    chance = random.Random(0)
    work = types.SimpleNamespace(stages=collections.Counter())
    (tmp_path / 'undisturbed').mkdir()
    live(make_experiment, tmp_path / 'undisturbed')
    begin = time.monotonic()
    (tmp_path / 'timed').mkdir()
    assert not killed(fork(lambda: live(make_experiment, tmp_path / 'timed')), 100)
    seconds = time.monotonic() - begin
    expected = contents(tmp_path / 'undisturbed')
    assert contents(tmp_path / 'timed') == expected and 'run/privacy.txt' in expected
    kills = lives = 0
    while kills < KILLS:
        directory = tmp_path / f'life{lives}'
        directory.mkdir()
        lives += 1
        while killed(
            fork(lambda directory=directory: live(make_experiment, directory)),
            chance.uniform(0, seconds) if kills < KILLS else 100,
        ):
            kills += 1
            stage = directory / 'stage'
            work.stages[stage.read_text() if stage.exists() else 'begin'] += 1
        found = contents(directory)
        assert sorted(found.keys() ^ expected.keys()) == [], directory
        assert [name for name in found if found[name] != expected[name]] == [], directory
    assert kills == KILLS
    # No draft of the dead, on any level, is among the names that were compared.
    assert not [p for p in pathlib.Path(tmp_path).rglob('*') if drafts.is_draft(p)]
