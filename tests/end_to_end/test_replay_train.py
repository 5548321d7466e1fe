"""A finished run of bin/train.py from its seed: cohort, exact sum, noise, released weights."""

import contextlib
import json

import numpy as np
import pytest
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.aggregation import rounded_gaussian
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.engines import worker_process
from dp_fedemb.learning import client_config
from dp_fedemb.runs import directory as directory_lib

# So many of 40 that no cohort is empty.
M, CLIP_NORM, Z = 16, 1.0, 0.8


@contextlib.contextmanager
def flags_of(kind):
    """Flags that train on an engine."""
    if kind != 'workers':
        yield [f'--engine={kind}']
        return
    worker = worker_process.WorkerProcess(1)
    try:
        worker.wait_until_listening(240)
        yield [f'--workers=localhost:{worker.port}']
    finally:
        worker.stop()


def trained_after(run_directory, round_num, count):
    """The trained weights that a round left, and the seed, from its checkpoint."""
    newer = [number for number in run_directory.checkpoints.rounds() if number > round_num]
    for number in newer:
        (run_directory.secrets / f'round_{number:08d}.state').unlink()
    checkpoint = run_directory.checkpoints.load()
    assert checkpoint.round_num == round_num
    return checkpoint.arrays[:count], int(checkpoint.record['seed'])


@pytest.mark.parametrize('kind', ['in_process', 'tff', 'workers'])
def test_the_seed_tells_what_was_released(kind, run_binary, tiny, cache_dir, tmp_path):
    path = tmp_path / 'run'
    with flags_of(kind) as flags:
        flags += ['--rounds=2', f'--virtual_clients_per_round={M}']
        done = run_binary('train', *tiny, *flags, f'--output_dir={path}')
    assert done.returncode == 0, done.stderr[-3000:]
    # Its store among those of other tests: the one whose ledger names the run.
    (place,) = {
        ledger.parent
        for ledger in cache_dir.glob('synthetic/*/train/privacy_ledger.json')
        if str(path) in ledger.read_text()
    }
    store = data.UserStore.open(place)
    plan = privacy.PrivacyPlan(
        num_users=store.num_users,
        virtual_clients_per_round=M,
        users_per_virtual_client=3,
        rounds=2,
        mechanism=privacy.Gaussian(CLIP_NORM, Z),
    )
    assert json.loads((path / 'config.json').read_text())['plan'] == plan.to_json()
    model = models.build_embedding_model('small_conv', store.example_spec, 8)
    count = len(model.record_specs())
    run_directory = directory_lib.RunDirectory(path)
    after, seed = trained_after(run_directory, 2, count)
    before, same_seed = trained_after(run_directory, 1, count)
    assert seed == same_seed and seed.bit_length() > 64

    # The second round's cohort and sum, again, by an engine of this test.
    run = privacy.PrivateRun(plan, seed)
    query = aggregation.build_query(run, model.record_specs())
    engine = in_process.InProcessEngine(
        model,
        client_config.ClientConfig(),
        query=query,
        reader=virtual_clients.build_reader(store),
        server_optimizer=tff.learning.optimizers.build_sgdm(1.0),
        num_shards=1,
    )
    state = engine.set_model_weights(
        engine.initialize(), tff.learning.models.ModelWeights(list(before), [])
    )
    sums = []
    shards = virtual_clients.assemble(store, run, 1, 1)
    engine.next(state, shards, lambda total: sums.extend(total) or 0)
    total = np.concatenate([np.ravel(part) for part in sums])
    assert np.any(total)

    # The noise, from its key; a unit of the grid is C / B with a margin of 2^-21.
    units = 2**20
    noise = rounded_gaussian.draw(run.noise_key(0, 1, 0), Z * units, len(total))
    mean = (total + noise) * (CLIP_NORM / (units * (1 - 2.0**-21))) / M
    flat = lambda weights: np.concatenate([np.ravel(weight) for weight in weights])
    # Not closer: clients' arithmetic is that of other threads, or of another TensorFlow, here.
    # The engines' own tests compare sums to the bit; the noise is 0.05 a coordinate.
    np.testing.assert_allclose(flat(after), flat(before) - mean, rtol=0, atol=2e-3)
    without = flat(before) - total * (CLIP_NORM / units) / M
    assert np.abs(flat(after) - without).max() > 0.1
