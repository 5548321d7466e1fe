"""Flags of the privacy plan, the same for every binary that samples, clips or accounts.

Those of mechanisms and samplings are the settings of their dataclasses.
"""

import json
import pathlib

from absl import flags

from flags import from_settings
from flags import server_flags

from dp_fedemb import files
from dp_fedemb import privacy
from dp_fedemb import settings
from dp_fedemb import validate
from dp_fedemb.privacy import choice

FLAGS = flags.FLAGS

# Where calibration begins: small enough for adaptive clipping with two virtual clients.
_FIRST_NOISE_MULTIPLIER = 0.1
# In place of a mechanism: the one of least noise in the model.
AUTO = 'auto'
# Of a mechanism, but not options of it: they have flags of their own.
_NUMBERS = ('clip_norm', 'noise_multiplier')
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
        lower_bound=1e-12,
        upper_bound=1e6,
    )
    flags.DEFINE_string(
        'mechanism',
        None,
        f'One of {", ".join(privacy.MECHANISMS)}. By default gaussian with noise, clip_only'
        ' with a clip alone, none with neither. auto: with --target_epsilon, the mechanism and'
        ' sampler that leave the least noise in the model, see bin/privacy.py plan.',
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


def names() -> list[str]:
    """Returns the flags that `define` has defined."""
    choices = (*privacy.MECHANISMS.values(), *privacy.SAMPLINGS.values())
    options = dict.fromkeys(name for cls in choices for name in from_settings.names(cls))
    plain = [name for name in from_settings.names(privacy.PrivacyPlan) if name != 'num_users']
    return [*plain, 'target_epsilon', 'mechanism', 'sampling', *options]


def follow(directory: str) -> None:
    """Takes from the run in a directory what was chosen when it began.

    That is what --mechanism=auto chose, and the grouping, unless --grouping says another: a
    run from before there were groups goes on in slots, its noise is for these.
    """
    try:
        known = json.loads(files.read_bytes(pathlib.Path(directory) / 'config.json'))
        sampling = known['plan']['sampling']
        cls = privacy.SAMPLINGS[sampling['name']]
    except (OSError, ValueError, KeyError, TypeError):
        return  # No run, or a damaged one: whoever opens it says so.
    if FLAGS.mechanism == AUTO:
        # What is not there belongs to a damaged file.
        parts = (known['plan'].get('mechanism', {}), sampling)
        for kind, part in zip(('mechanism', 'sampling'), parts, strict=True):
            _take(kind, part)
        return
    about = settings.about(cls).get('grouping')
    same = FLAGS.sampling in (None, sampling['name'])
    if about is not None and FLAGS.grouping is None and same:
        FLAGS.grouping = sampling.get('grouping', about.absent)


def check() -> None:
    """Refuses what is wrong whatever the number of users is.

    Raises:
        ValueError: as `plan`.
    """
    given = FLAGS.noise_multiplier
    if FLAGS.target_epsilon is not None:
        _check_target()
        given = _FIRST_NOISE_MULTIPLIER
        if FLAGS.mechanism == AUTO:
            return  # Chosen for a number of users.
    _sampling(_mechanism(given))


def plan(num_users: int) -> privacy.PrivacyPlan:
    """Builds the plan that the flags describe.

    Args:
        num_users: N, of the task's training users.

    Raises:
        ValueError: in one line, for flags that contradict each other or the plan.
    """
    if FLAGS.target_epsilon is None:
        return uncalibrated_plan(num_users, FLAGS.noise_multiplier)
    _check_target()
    if FLAGS.mechanism == AUTO:
        _choose_automatically(num_users)
    first = uncalibrated_plan(num_users, _FIRST_NOISE_MULTIPLIER)
    return privacy.calibrate(first, FLAGS.target_epsilon)


def _check_target() -> None:
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


def candidates(num_users: int) -> list[choice.Candidate]:
    """Returns the mechanisms and samplers for --target_epsilon, the best one first.

    All of them, or those that --mechanism and --sampling leave.

    Args:
        num_users: N.

    Raises:
        ValueError: as `plan`, and for an option of a mechanism that is yet to be chosen.
    """
    names = {name for cls in privacy.MECHANISMS.values() for name in settings.about(cls)}
    chosen = sorted(names - {*_NUMBERS, *server_flags.WORKLOAD})
    if FLAGS.sampling is None:
        samplings = privacy.SAMPLINGS.values()
        chosen += sorted({name for cls in samplings for name in settings.about(cls)})
    for name in chosen:
        if FLAGS[name].value is not None:
            raise ValueError(
                f'{name}={FLAGS[name].value} where mechanism and sampler are yet to be chosen:'
                ' leave it out, or name the one that it is an option of'
            )
    only = None if FLAGS.mechanism in (None, AUTO) else FLAGS.mechanism
    if only is not None and only not in choice.MECHANISMS:
        raise ValueError(
            f'mechanism={only}: expected one of {", ".join(choice.MECHANISMS)}, or {AUTO}; the'
            ' noise of others is not compared'
        )
    gaussian = privacy.Gaussian(FLAGS.clip_norm, 1.0)
    plan_of_others = from_settings.build(
        privacy.PrivacyPlan,
        num_users=num_users,
        mechanism=gaussian,
        sampling=privacy.Poisson(),
    )
    return choice.candidates(
        plan_of_others,
        FLAGS.target_epsilon,
        server_flags.server(),
        only,
        None if FLAGS.sampling is None else _sampling(gaussian),
    )


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


def _choose_automatically(num_users: int) -> None:
    """Chooses, says so, and lets the flags name what was chosen.

    Noise is then found as for any other flags, so that a run that goes on finds the same.
    """
    found = candidates(num_users)
    best = found[0].plan
    if best is None:
        raise ValueError(
            f'mechanism={AUTO} with target_epsilon={FLAGS.target_epsilon}: no candidate reaches'
            f' it; of {found[0].name}: {found[0].reason}'
        )
    print(f'mechanism={AUTO}: {choice.sentence(found)}', flush=True)
    for name, value in choice.options(best).items():
        FLAGS[name].value = value


def _take(kind: str, known: dict[str, object]) -> None:
    """Sets the flags of a mechanism or sampling as a config.json names them.

    Those that were given stay, so that a difference is found as any other.
    """
    choices, name = getattr(privacy, f'{kind.upper()}S'), known.get('name')
    if name not in choices or FLAGS[kind].value not in (None, AUTO, name):
        return
    FLAGS[kind].value = name
    for option in settings.about(choices[name]):
        if option not in _NUMBERS and FLAGS[option].value is None:
            FLAGS[option].value = known.get(option)


def _mechanism(noise_multiplier: float | None) -> privacy.Mechanism:
    name = FLAGS.mechanism
    if name is None and noise_multiplier:
        name = 'gaussian'
    elif name is None:
        name = 'none' if FLAGS.clip_norm is None else 'clip_only'
    if name == AUTO:
        raise ValueError(
            f'mechanism={AUTO} without target_epsilon: it is chosen for a target; set one, or'
            ' name a mechanism'
        )
    chosen = _choose('mechanism', privacy.MECHANISMS, name)
    numbers = {}
    # The default of --clip_norm is not an answer to --mechanism=none.
    if FLAGS.clip_norm is not None and (name != 'none' or FLAGS['clip_norm'].present):
        numbers['clip_norm'] = FLAGS.clip_norm
    if noise_multiplier is not None:
        numbers['noise_multiplier'] = noise_multiplier
    options = from_settings.options(chosen, privacy.MECHANISMS, without=_NUMBERS)
    if issubclass(chosen, privacy.Correlated):
        steps = server_flags.server()
        options['strategy_momentum'] = steps.momentum
        options['strategy_lr_schedule'] = steps.lr_schedule
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
