"""Flags of audits, and what follows from them: targets, rounds to play, plans."""

from absl import flags

from flags import plan_flags

from dp_fedemb import privacy

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags that only `bin/audit.py` has."""
    flags.DEFINE_float('confidence', 0.95, 'Of every lower bound.', 0.5, 0.999999)
    flags.DEFINE_string('output_dir', None, 'For audit.json and pictures.')
    flags.DEFINE_bool('json', False, 'Print one JSON object instead of tables.')
    flags.DEFINE_integer('num_users', None, 'noise: N, users in the population.', 1, 10**12)
    flags.DEFINE_integer(
        'coordinates', 65_536, 'noise: of a record; each is a game.', 64, 10**8
    )
    flags.DEFINE_integer('audited_runs', 4, 'noise: runs of different seeds.', 2, 1000)
    flags.DEFINE_list(
        'audited_rounds', None, 'noise: numbers of rounds to play; 1 and all by default.'
    )
    flags.DEFINE_integer('watched_rounds', 3, 'rounds: how many to watch.', 2, 1000)
    flags.DEFINE_integer(
        'watched_clients', 500, 'rounds: virtual clients to take one by one.', 1, 10**7
    )
    flags.DEFINE_enum(
        'canary_kind',
        'updates',
        ['updates', 'mislabelled', 'unique'],
        'canaries: updates (a random direction in place of a trained update), mislabelled or'
        ' unique (images).',
    )
    flags.DEFINE_integer('canaries', 1000, 'canaries: how many, each a user.', 16, 10**6)
    flags.DEFINE_integer('most_users', 1000, 'canaries: most real users.', 1, 10**9)
    flags.DEFINE_list(
        'epsilons',
        None,
        'membership: target epsilons to train at, with "none" for no clip and no noise; by'
        ' default what the flags of the plan say.',
    )
    flags.DEFINE_integer(
        'models', 4, 'membership: models, each the target once and else a shadow.', 3, 1000
    )
    flags.DEFINE_integer(
        'images_per_user', 5, 'membership: most images of a user in training.', 2, 10**6
    )
    flags.DEFINE_integer('candidates', None, 'membership: most users to ask about.', 12, 10**9)


# Flags of trainings that a command would make, which a finished run has behind it.
_OF_TRAININGS = ('epsilons', 'noise_multiplier', 'target_epsilon', 'mechanism', 'num_users')
_WITHOUT_MODEL = {
    'rounds': 'it watches a run while it trains: give the flags of the run',
    'canaries': 'canaries are put in before the training: give the flags of the run',
}


def check_model(command: str) -> None:
    """Refuses --model where a finished run has nothing to audit, or flags that contradict it.

    Raises:
        ValueError: in one line.
    """
    if FLAGS.model is None:
        return
    if command in _WITHOUT_MODEL:
        raise ValueError(f'model={FLAGS.model!r} with {command}: {_WITHOUT_MODEL[command]}')
    for name in _OF_TRAININGS:
        if FLAGS[name].present:
            raise ValueError(
                f'{name}={FLAGS[name].value} with model={FLAGS.model!r}: a finished run has its'
                ' own; leave one of the two out'
            )


def audited_rounds(most: int) -> list[int] | None:
    """Returns numbers of rounds to play, of so many at most; None for one and all."""
    if FLAGS.audited_rounds is None:
        return None
    try:
        numbers = [int(text) for text in FLAGS.audited_rounds]
    except ValueError:
        numbers = []
    if not numbers or not 1 <= min(numbers) <= max(numbers) <= most:
        raise ValueError(
            f'audited_rounds={FLAGS.audited_rounds}: expected whole numbers from 1 to'
            f' rounds={most}'
        )
    return numbers


def targets() -> dict[str, float | None]:
    """Names of trainings -> target epsilon, None for no privacy, 0 for the plan's flags."""
    if FLAGS.epsilons is None:
        return {'as the flags say': 0.0}
    found: dict[str, float | None] = {}
    for text in FLAGS.epsilons:
        try:
            target = None if text == 'none' else float(text)
        except ValueError:
            target = -1.0
        if target is not None and not 0 < target < 1e6:
            raise ValueError(f'epsilons={text!r}: expected numbers above 0, or none')
        found['no privacy' if target is None else f'epsilon {target:g}'] = target
    return found


def plan_for(num_users: int, target: float | None) -> privacy.PrivacyPlan:
    """Returns the plan of a target of `targets`."""
    if target == 0:
        return plan_flags.plan(num_users)
    sizes = {
        'num_users': num_users,
        'virtual_clients_per_round': FLAGS.virtual_clients_per_round,
        'users_per_virtual_client': FLAGS.users_per_virtual_client,
        'rounds': FLAGS.rounds,
        'delta': FLAGS.delta,
    }
    if target is None:
        return privacy.PrivacyPlan(mechanism=privacy.NoPrivacy(), **sizes)
    first = privacy.PrivacyPlan(mechanism=privacy.Gaussian(FLAGS.clip_norm, 1.0), **sizes)
    return privacy.calibrate(first, target)
