"""Recall on Omniglot lies between two bounds, with privacy and without.

Too low, and training is broken; too high, and the noise is gone or test characters leak
into training. Measured with seeds 1, 2, 3: 0.134, 0.134, 0.131 clipped, and 0.110, 0.107, 0.099
private, where 0.043, 0.058, 0.078 were the untrained models. Without its noise a private run is
a clipped one, and above its bound; without its training it is below.
"""

import os
import pathlib

import pytest

from dp_fedemb import privacy
from dp_fedemb.learning import client_config
from dp_fedemb.runs import experiment
from dp_fedemb.runs import settings
import tasks

REAL = pathlib.Path(
    os.environ.get(
        'DP_FEDEMB_OMNIGLOT',
        pathlib.Path(__file__).parents[2] / '..' / 'shared' / 'data' / 'omniglot',
    )
)
pytestmark = pytest.mark.skipif(
    not (REAL / 'images_background.zip').exists(),
    reason=f'no Omniglot archives in {REAL}; name their directory in DP_FEDEMB_OMNIGLOT',
)
ROUNDS = 8
METRIC = 'recall@FAR=0.01'
MECHANISMS = {
    'clipped': privacy.ClipOnly(1.0),
    # As loud as lets something be learnt from 964 users: epsilon 13.8.
    'private': privacy.Gaussian(1.0, 0.35),
}
BOUNDS = {'clipped': (0.121, 0.15), 'private': (0.085, 0.121)}


def recall(task, mechanism, directory, seed):
    """Returns the recall of unseen characters before and after, and the epsilon."""
    model = settings.ModelSettings('small_conv', 32, 'cosface').build(task.train)
    plan = privacy.PrivacyPlan(task.train.num_users, 8, 8, ROUNDS, MECHANISMS[mechanism])
    client = client_config.ClientConfig(learning_rate=0.1, head_lr_scale=10.0)
    schedule = settings.TrainingSchedule(ROUNDS, 0, ROUNDS)
    chosen = settings.Settings(client, schedule, server_momentum=0.9, engine='in_process')
    run = experiment.Experiment(model, plan, chosen, task.train, task.test)
    scores = run.run(directory, seed)
    return scores['untrained'][METRIC], scores['trained'][METRIC], plan.epsilon()


@pytest.fixture(scope='module')
def task(tmp_path_factory):
    cache = tmp_path_factory.mktemp('omniglot')
    return tasks.build_task('omniglot', tasks.TaskConfig(str(REAL), str(cache)))


@pytest.mark.parametrize('mechanism', list(MECHANISMS))
def test_recall_is_within_its_bounds(mechanism, task, tmp_path):
    untrained, trained, epsilon = recall(task, mechanism, tmp_path / 'run', seed=4)
    low, high = BOUNDS[mechanism]
    assert untrained < low < trained < high
    assert (epsilon < 14) == (mechanism == 'private')
