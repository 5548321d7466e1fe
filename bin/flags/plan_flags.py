"""Flags of the privacy plan, the same for every binary that samples, clips or accounts.

Those of mechanisms and samplings are the settings of their dataclasses.
"""

import json
import pathlib

from absl import flags

from flags import from_settings

from dp_fedemb import privacy
from dp_fedemb import settings
from dp_fedemb import validate

FLAGS = flags.FLAGS

# Where calibration begins: small enough for adaptive clipping with two virtual clients.
_FIRST_NOISE_MULTIPLIER = 0.1
_DEFAULTS = {
    'rounds': 100,
    'virtual_clients_per_round': 32,
    'users_per_virtual_client': 8,
}


def define(clip_norm_default: float | None = None) -> None:
    """Defines the flags of `plan`.

    Args:
        clip_norm_default: of --clip_norm; None for no clipping unless it is given.
    """
    from_settings.define(
        privacy.PrivacyPlan, defaults=_DEFAULTS, without=['num_users', 'mechanism', 'sampling']
    )
    flags.DEFINE_float(
        'target_epsilon',
        None,
        'Epsilon of a user after all rounds; finds the smallest noise multiplier for it.',
    )
    flags.DEFINE_string(
        'mechanism',
        None,
        f'One of {", ".join(privacy.MECHANISMS)}. By default gaussian with noise, clip_only'
        ' with a clip alone, none with neither.',
    )
    flags.DEFINE_string(
        'sampling',
        None,
        f'One of {", ".join(privacy.SAMPLINGS)}. By default poisson; min_separation for'
        ' mechanisms whose noise is correlated over rounds.',
    )
    from_settings.define_options(privacy.MECHANISMS.values())
    from_settings.define_options(privacy.SAMPLINGS.values())
    FLAGS.set_default('clip_norm', clip_norm_default)


def follow(directory: str) -> None:
    """Takes the grouping of the run in a directory, unless --grouping says another.

    A run from before there were groups goes on in slots: its noise is for these.
    """
    try:
        known = json.loads((pathlib.Path(directory) / 'config.json').read_text())
        sampling = known['plan']['sampling']
        cls = privacy.SAMPLINGS[sampling['name']]
    except (OSError, ValueError, KeyError, TypeError):
        return  # No run, or a damaged one: whoever opens it says so.
    about = settings.about(cls).get('grouping')
    same = FLAGS.sampling in (None, sampling['name'])
    if about is not None and FLAGS.grouping is None and same:
        FLAGS.grouping = sampling.get('grouping', about.absent)


def plan(num_users: int) -> privacy.PrivacyPlan:
    """Builds the plan that the flags describe.

    Args:
        num_users: N, of the task's training users.

    Raises:
        ValueError: in one line, for flags that contradict each other or the plan.
    """
    if FLAGS.target_epsilon is None:
        return uncalibrated_plan(num_users, FLAGS.noise_multiplier)
    if FLAGS.noise_multiplier is not None:
        raise ValueError(
            f'target_epsilon={FLAGS.target_epsilon} with noise_multiplier='
            f'{FLAGS.noise_multiplier}: the target decides the noise; give one of the two'
        )
    if FLAGS.clip_norm is None:
        raise ValueError(
            f'target_epsilon={FLAGS.target_epsilon} without clip_norm: noise bounds'
            ' nothing unless updates are clipped; set clip_norm'
        )
    if FLAGS.mechanism in ('none', 'clip_only'):
        raise ValueError(
            f'target_epsilon={FLAGS.target_epsilon} with mechanism={FLAGS.mechanism}: it'
            ' adds no noise; choose gaussian or another private mechanism'
        )
    first = uncalibrated_plan(num_users, _FIRST_NOISE_MULTIPLIER)
    return privacy.calibrate(first, FLAGS.target_epsilon)


def uncalibrated_plan(
    num_users: int, noise_multiplier: float | None, rounds: int | None = None
) -> privacy.PrivacyPlan:
    """Builds the plan with this noise multiplier, whatever --target_epsilon says.

    Args:
        num_users: N.
        noise_multiplier: z; None for no noise.
        rounds: --rounds by default.

    Raises:
        ValueError: as `plan`.
    """
    mechanism = _mechanism(noise_multiplier)
    return from_settings.build(
        privacy.PrivacyPlan,
        num_users=num_users,
        rounds=FLAGS.rounds if rounds is None else rounds,
        mechanism=mechanism,
        sampling=_sampling(mechanism),
    )


def fewest_users(noise_multiplier: float | None) -> int:
    """Returns the smallest population that the flags are possible with."""
    m, k = FLAGS.virtual_clients_per_round, FLAGS.users_per_virtual_client
    sampling = _sampling(_mechanism(noise_multiplier))
    return sampling.fewest_users(privacy.Population(m * k, m, k), FLAGS.rounds)


def _mechanism(noise_multiplier: float | None) -> privacy.Mechanism:
    name = FLAGS.mechanism
    if name is None and noise_multiplier:
        name = 'gaussian'
    elif name is None:
        name = 'none' if FLAGS.clip_norm is None else 'clip_only'
    chosen = _choose('mechanism', privacy.MECHANISMS, name)
    numbers = {}
    # The default of --clip_norm is not an answer to --mechanism=none.
    if FLAGS.clip_norm is not None and (name != 'none' or FLAGS['clip_norm'].present):
        numbers['clip_norm'] = FLAGS.clip_norm
    if noise_multiplier is not None:
        numbers['noise_multiplier'] = noise_multiplier
    options = from_settings.options(
        chosen, privacy.MECHANISMS, without=('clip_norm', 'noise_multiplier')
    )
    if issubclass(chosen, privacy.Correlated) and 'server_momentum' in FLAGS:
        options.setdefault('strategy_momentum', FLAGS.server_momentum)
    return chosen(**numbers, **options)


def _sampling(mechanism: privacy.Mechanism) -> privacy.Sampling:
    name = FLAGS.sampling
    if name is None:
        # The only sampler whose participation correlated noise can be accounted for.
        name = 'poisson' if mechanism.independent_rounds else 'min_separation'
    chosen = _choose('sampling', privacy.SAMPLINGS, name)
    return chosen(**from_settings.options(chosen, privacy.SAMPLINGS))


def _choose(name: str, choices: dict[str, type], value: str) -> type:
    validate.one_of(name, value, choices)
    return choices[value]
