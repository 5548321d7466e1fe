"""The average beside the last iterate: which is released, by what, and what is said."""

import collections
import csv
import dataclasses
import json
import types

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.data import synthetic
from dp_fedemb.learning import client_config
from dp_fedemb.runs import candidates as candidates_lib
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import experiment
from dp_fedemb.runs import settings
from dp_fedemb.runs import summary

ROUNDS, DECAY = 3, 0.5


@pytest.fixture(scope='module')
def stores(tmp_path_factory):
    """Twelve users, and two sets of other identities."""
    path, found = tmp_path_factory.mktemp('glyphs'), {}
    for name in ('train', 'test', 'validation'):
        part = synthetic.Part(name, 12, 2, 3, image_size=12)
        with data.UserStoreWriter(path / name, (12, 12, 1)) as writer:
            synthetic.write(part, 0, writer)
        found[name] = data.UserStore.open(path / name)
    return found


@pytest.fixture(scope='module')
def make_experiment(stores):
    model = models.build_embedding_model('small_conv', (12, 12, 1), 8, head='normalized')

    def build(**changes):
        own = {'validation': stores['validation'], 'ema': DECAY, **changes}
        plan = privacy.PrivacyPlan(
            num_users=12,
            virtual_clients_per_round=2,
            users_per_virtual_client=2,
            rounds=ROUNDS,
            mechanism=own.pop('mechanism', privacy.Gaussian(0.5, 1.0)),
        )
        validation = own.pop('validation')
        training = settings.Settings(
            client_config.ClientConfig(learning_rate=0.5),
            settings.TrainingSchedule(ROUNDS, rounds_per_eval=1, rounds_per_checkpoint=1),
            engine='in_process',
            client_parallelism=1,
            **own,
        )
        return experiment.Experiment(
            model, plan, training, stores['train'], stores['test'], validation=validation
        )

    return build


def test_both_are_evaluated_and_the_better_on_validation_is_released(make_experiment, tmp_path):
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    scores = make_experiment().run(directory, seed=2**80)
    note = json.loads((tmp_path / 'run' / 'released.json').read_text())
    assert note['chosen_by'] == 'recall@FAR=0.001 of the validation part'
    best = max(
        note['validation'], key=lambda name: note['validation'][name]['recall@FAR=0.001']
    )
    assert note['released'] == best and scores['trained'] == scores[best]
    with open(directory.metrics) as file:
        rows = list(csv.DictReader(file))
    assert rows[0]['average_recall@FAR=0.01'] == ''
    assert float(rows[-1]['average_recall@FAR=0.01']) == scores['average']['recall@FAR=0.01']
    assert float(rows[-1]['recall@FAR=0.01']) == scores['last_iterate']['recall@FAR=0.01']
    printed = summary.text(directory)
    assert 'average of the iterates' in printed and 'last iterate' in printed
    assert f'released: the {"last iterate" if best == "last_iterate" else "average"}' in printed


def test_an_interrupted_average_goes_on(make_experiment, tmp_path, monkeypatch):
    """The average is in the checkpoint: the end is that of an undisturbed run."""
    make_experiment().run(tmp_path / 'whole', seed=2**80)
    write = directory_lib.RunDirectory.write_model

    def stop(self, round_num, export):
        if round_num == 2:
            raise KeyboardInterrupt
        write(self, round_num, export)

    with monkeypatch.context() as patch:
        patch.setattr(directory_lib.RunDirectory, 'write_model', stop)
        with pytest.raises(KeyboardInterrupt):
            make_experiment().run(tmp_path / 'run', seed=2**80)
    make_experiment().run(tmp_path / 'run')
    for name in ('metrics.csv', 'released.json'):
        assert (tmp_path / 'run' / name).read_text() == (tmp_path / 'whole' / name).read_text()
    one, other = (
        json.loads((tmp_path / path / 'evaluation.json').read_text())
        for path in ('run', 'whole')
    )
    # A model that is saved again has another one.
    assert one.pop('model_fingerprint') and other.pop('model_fingerprint') and one == other


def test_without_a_validation_part_the_average_is_released_unseen(tmp_path):
    directory = types.SimpleNamespace(write_json=lambda name, value: notes.append(value))
    notes = []
    choice = candidates_lib.Candidates(DECAY, None, None, lambda weights: weights, directory)
    both = collections.OrderedDict(last_iterate=([1], []), average=([2], []))
    assert choice.choose(both) == ([2], [])
    assert notes == [{'released': 'average', 'ema': DECAY, 'chosen_by': None}]
    # Nothing to choose, nothing to note.
    assert choice.choose(collections.OrderedDict(last_iterate=([1], []))) == ([1], [])
    assert len(notes) == 1


def test_the_worse_on_validation_is_not_released(monkeypatch):
    """Whichever of the two it is: the choice reads the validation figures, not the order."""
    directory = types.SimpleNamespace(write_json=lambda name, value: None)
    monkeypatch.setattr(
        candidates_lib.evaluator_lib,
        'Evaluator',
        lambda model, store: lambda trainable, rest: {'recall@FAR=0.001': trainable[0]},
    )
    choice = candidates_lib.Candidates(DECAY, None, 'store', lambda weights: weights, directory)
    for last, average in ((0.2, 0.3), (0.3, 0.2)):
        both = collections.OrderedDict(last_iterate=([last], []), average=([average], []))
        assert choice.choose(both) == ([max(last, average)], [])


def test_adam_knows_the_noise_of_the_plan(make_experiment):
    run = make_experiment(server_optimizer='adam', validation=None)
    np.testing.assert_allclose(run.plan.mean_noise_stddevs(ROUNDS), [0.5 * 1.0 / 2] * ROUNDS)
    banded = dataclasses.replace(
        run.plan,
        mechanism=privacy.Banded(0.5, 1.0, strategy_momentum=0.9, bands=2),
        sampling=privacy.MinSeparation(),
    )
    noise = banded.mean_noise_stddevs(2)
    second = banded.mechanism.strategy.noise(2)[1]
    np.testing.assert_allclose(noise, [0.25, 0.25 * np.hypot(1, second)])


def test_adam_is_refused_where_the_noise_is_not_known(make_experiment):
    mechanism = privacy.AdaptiveGaussian(0.5, 1.0, clipped_count_stddev=2.0)
    with pytest.raises(ValueError, match='server_optimizer=adam with mechanism=adaptive'):
        make_experiment(server_optimizer='adam', mechanism=mechanism)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'ema': 1.0}, 'ema=1.0: expected'),
        ({'server_optimizer': 'adam', 'server_momentum': 0.9}, 'server_momentum=0.9 with'),
        ({'server_adam_floor': 0.0}, 'server_adam_floor=0.0: expected'),
        ({'server_lr_schedule': 'poly'}, "server_lr_schedule='poly': expected one of"),
    ],
)
def test_settings_that_are_refused(make_experiment, changes, message):
    with pytest.raises(ValueError, match=message):
        make_experiment(**changes)
