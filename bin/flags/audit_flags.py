"""Flags of audits, and what follows from them: targets, rounds to play, plans."""

from absl import flags

from flags import from_settings
from flags import groups
from flags import plan_flags
from flags import start_flags

from dp_fedemb import privacy
from dp_fedemb import validate
from dp_fedemb.runs import settings

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


# Command -> flags that it alone reads.
_ONLY = {
    'noise': ('num_users', 'coordinates', 'audited_runs', 'audited_rounds'),
    'rounds': ('watched_rounds', 'watched_clients', *start_flags.names()),
    'canaries': ('canary_kind', 'canaries', 'most_users'),
    'membership': ('epsilons', 'models', 'images_per_user', 'candidates'),
}
# What correlated noise is made for, see `server_flags.server`.
_OF_SERVER = ('server_momentum', 'server_optimizer', 'server_lr_schedule')
# What `plan_for` reads where epsilons decide the noise.
_OF_TARGETS = (
    'rounds',
    'virtual_clients_per_round',
    'users_per_virtual_client',
    'delta',
    'clip_norm',
)
_WITHOUT_MODEL = {
    'rounds': 'it watches a run while it trains: give the flags of the run',
    'canaries': 'canaries are put in before the training: give the flags of the run',
}


def check_used(command: str) -> None:
    """Refuses flags that a command does not read, and --model where it has no use for one.

    Raises:
        ValueError: in one line.
    """
    for other, names in _ONLY.items():
        if other != command:
            from_settings.refuse_unused(command, *names)
    if FLAGS.model is None:
        from_settings.refuse_unused(f'{command} without a model', 'accept_ops')
        if command == 'noise':
            from_settings.refuse_unused(command, *groups.task_flags(), *_of_training())
        elif FLAGS.epsilons is not None:
            unused = [name for name in plan_flags.names() if name not in _OF_TARGETS]
            from_settings.refuse_unused('a training for each of epsilons', *unused)
        return
    if command in _WITHOUT_MODEL:
        raise ValueError(f'model={FLAGS.model!r} with {command}: {_WITHOUT_MODEL[command]}')
    of_run = ('num_users', 'epsilons', 'models', *_of_training(), *_OF_SERVER)
    unused = groups.task_flags() if command == 'noise' else ['confidence']
    unused = [*unused, *(['accept_ops'] if command == 'noise' else [])]
    for name in (*of_run, *plan_flags.names()):
        if FLAGS[name].present:
            raise ValueError(
                f'{name}={FLAGS[name].value} with model={FLAGS.model!r}: a finished run has its'
                ' own; leave one of the two out'
            )
    from_settings.refuse_unused(f'{command} of a finished run', *unused)


def _of_training() -> list[str]:
    """Flags of model and training, without those that the mechanism of the plan looks at."""
    found = [
        *from_settings.names(settings.ModelSettings),
        *from_settings.names(settings.Settings),
    ]
    chosen = privacy.MECHANISMS.get(FLAGS.mechanism)
    correlated = chosen is not None and issubclass(chosen, privacy.Correlated)
    looked_at = _OF_SERVER if correlated or FLAGS.mechanism == plan_flags.AUTO else ()
    return [name for name in found if name not in looked_at]


def audited_rounds(most: int) -> list[int] | None:
    """Returns numbers of rounds to play, of so many at most; None for one and all."""
    if FLAGS.audited_rounds is None:
        return None
    try:
        numbers = [validate.read_number(text, int) for text in FLAGS.audited_rounds]
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
            target = None if text == 'none' else validate.read_number(text)
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
