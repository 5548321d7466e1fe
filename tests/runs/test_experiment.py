"""Experiments: what is refused, and how a run is continued."""

import types

import pytest

from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.learning import client_config
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import experiment
from dp_fedemb.runs import settings as settings_lib


def experiment_of(mechanism, **settings):
    train = types.SimpleNamespace(num_identities=9)
    return experiment.Experiment(
        models.build_embedding_model('small_conv', (12, 12, 1), 8),
        privacy.PrivacyPlan(40, 4, 1, 3, mechanism),
        settings_lib.Settings(
            client_config.ClientConfig(), settings_lib.TrainingSchedule(3), **settings
        ),
        train,
        train,
    )


def test_fedavg_with_a_head_sized_by_private_users_has_no_epsilon():
    with pytest.raises(ValueError, match='set label_buckets to a public number'):
        experiment_of(privacy.Gaussian(1.0, 1.0), algorithm='fedavg')
    hashed = experiment_of(privacy.Gaussian(1.0, 1.0), algorithm='fedavg', label_buckets=7)
    assert hashed.trained_model.embedding_dim == 7
    # The baseline without privacy may have a label for each.
    plain = experiment_of(privacy.NoPrivacy(), algorithm='fedavg')
    assert plain.trained_model.embedding_dim == 9


def test_buckets_are_fedavgs():
    with pytest.raises(ValueError, match='only fedavg has a head that all share'):
        experiment_of(privacy.NoPrivacy(), label_buckets=7)


def test_a_run_from_before_whole_groups_goes_on_in_slots_alone(tmp_path):
    """A config.json that names no grouping means slots, and a default of then."""
    old = of_sampling(privacy.Poisson('slots'))
    config = old.config()
    del config['plan']['sampling']['grouping']
    del config['model']
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    directory.begin(config)
    directory.check(old.config(), old.absent())
    new = of_sampling(privacy.Poisson())
    with pytest.raises(ValueError, match="grouping='slots', not 'groups'"):
        directory.check(new.config(), new.absent())


def of_sampling(sampling):
    store = types.SimpleNamespace(num_users=40, num_identities=9, num_examples=90)
    return experiment.Experiment(
        models.build_embedding_model('small_conv', (12, 12, 1), 8),
        privacy.PrivacyPlan(40, 4, 2, 3, privacy.Gaussian(1.0, 1.0), sampling),
        settings_lib.Settings(client_config.ClientConfig(), settings_lib.TrainingSchedule(3)),
        store,
        store,
    )


def test_what_version_0_1_0_left(tmp_path):
    run = of_sampling(privacy.Poisson('slots'))
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    directory.begin(run.config())
    (directory.secrets / 'round_3').mkdir(parents=True)
    with pytest.raises(ValueError, match='checkpoints of version 0.1.0'):
        run.is_finished(directory)
    directory.write_json('privacy.json', {'rounds_completed': 3})
    directory.write_json('evaluation.json', {'trained': {}})
    assert run.is_finished(directory) and run.run(directory) == {'trained': {}}


@pytest.mark.parametrize(
    'name, value',
    [
        ('server_lr', float('inf')),
        ('server_lr', float('nan')),
        ('worker_timeout_s', float('nan')),
        ('worker_timeout_s', 0.0),
        ('client_parallelism', 0),
        ('intra_op_threads', -1),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f'^{name}='):
        experiment_of(privacy.NoPrivacy(), **{name: value})
