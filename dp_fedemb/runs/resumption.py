"""What a run takes over from its last checkpoint: its seed, its store, where it ran before."""

from collections.abc import Mapping
from typing import Any, Optional

from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.data import store as store_lib
from dp_fedemb.runs import checkpoints
from dp_fedemb.runs import directory as run_directory_lib
from dp_fedemb.runs import engine_choice
from dp_fedemb.runs import settings as settings_lib


def private_run(
    directory: run_directory_lib.RunDirectory,
    plan: privacy.PrivacyPlan,
    saved: Optional[checkpoints.Checkpoint],
    seed: Optional[int],
) -> privacy.PrivateRun:
    """Returns the run of the checkpoint's seed; without a checkpoint a new one.

    Args:
        directory: for the message.
        plan: of the run.
        saved: the checkpoint to go on from; None to start.
        seed: that was given; None for any.

    Raises:
        ValueError: if the run began with another seed.
    """
    known = None if saved is None else int(saved.record['seed'])
    if known is not None and seed not in (None, known):
        raise ValueError(
            f'seed: the run in {str(directory.path)!r} began with another one; leave it out to'
            ' go on'
        )
    return privacy.PrivateRun.start(plan, seed if known is None else known)


def record(
    run: privacy.PrivateRun,
    train: store_lib.UserStore,
    settings: settings_lib.Settings,
    saved: Optional[checkpoints.Checkpoint],
    seed_given: bool,
) -> dict[str, Any]:
    """Returns what every checkpoint of the run carries.

    Raises:
        ValueError: if the run began on another store.
    """
    of_store = train.fingerprint(randomness.key(run.secret_seed, 'fingerprint of the store'))
    engine = ' '.join([engine_choice.name(settings), *settings.workers])
    before: Mapping[str, Any] = {} if saved is None else saved.record
    if before.get('store', of_store) != of_store:
        raise ValueError(
            f'train={str(train.path)!r}: its contents are not those that the run began'
            ' with; bring them back, or choose another output_dir'
        )
    return {
        'seed': str(run.secret_seed),
        'seed_given': before.get('seed_given', False) or seed_given,
        'store': of_store,
        'engines': list(dict.fromkeys([*before.get('engines', ()), engine])),
        'scores': before.get('scores'),
    }
