"""Flags of the privacy plan, the same for every binary that samples, clips or accounts.

None means "not given" throughout, so that an option of another mechanism or sampler
than the chosen one is refused instead of ignored.
"""

import dataclasses

from absl import flags

FLAGS = flags.FLAGS

# Flags that are fields of some samplings, and of some mechanisms, by the same name.
_SAMPLING_OPTIONS = ('min_separation', 'max_participations')
_MECHANISM_OPTIONS = (
    'restart_rounds',
    'tree_completion',
    'target_unclipped_quantile',
    'adaptive_clip_learning_rate',
    'clipped_count_stddev',
)
# Where calibration begins: small enough for adaptive clipping with two virtual clients.
_FIRST_NOISE_MULTIPLIER = 0.1


def define(rounds_default: int, clip_norm_default: float | None = None) -> None:
    """Defines the flags of `plan`.

    Args:
        rounds_default: of --rounds.
        clip_norm_default: of --clip_norm; None for no clipping unless it is given.
    """
    flags.DEFINE_integer('rounds', rounds_default, 'Rounds to train.')
    flags.DEFINE_integer(
        'virtual_clients_per_round', 32, 'm: expected virtual clients, and the divisor.'
    )
    flags.DEFINE_integer(
        'users_per_virtual_client', 8, 'k: expected users merged into a virtual client.'
    )
    flags.DEFINE_float(
        'clip_norm',
        clip_norm_default,
        "C: L2 bound of a virtual client's backbone update.",
    )
    flags.DEFINE_float(
        'noise_multiplier', None, 'z: standard deviation of the noise on the sum over C.'
    )
    flags.DEFINE_float(
        'target_epsilon',
        None,
        'Epsilon of a user after all rounds; finds the smallest noise multiplier for it.',
    )
    flags.DEFINE_float('delta', None, 'Of the guarantee; num_users**-1.1 by default.')
    flags.DEFINE_string(
        'mechanism',
        None,
        'gaussian, adaptive_gaussian, tree, tree_adaptive, clip_only or none. By default'
        ' gaussian with noise, clip_only with a clip alone, none with neither.',
    )
    flags.DEFINE_string(
        'sampling',
        None,
        'poisson, fixed_size or min_separation. By default poisson, for trees min_separation.',
    )
    flags.DEFINE_integer(
        'noise_cohort_size',
        None,
        'M: trains with the noise of a deployment of M virtual clients a round. The'
        ' epsilon is then of that deployment, not of this run.',
    )
    flags.DEFINE_integer(
        'min_separation',
        None,
        'sampling=min_separation: least distance of two rounds of a user; by default the'
        ' greatest.',
    )
    flags.DEFINE_integer(
        'max_participations', None, 'sampling=min_separation: most rounds of a user.'
    )
    flags.DEFINE_integer(
        'restart_rounds', None, 'Trees: rounds of one tree; by default a single tree.'
    )
    flags.DEFINE_bool(
        'tree_completion',
        None,
        'Trees: fill a tree up to a power of two before a restart.',
    )
    flags.DEFINE_float(
        'target_unclipped_quantile', None, 'Adaptive clip: fraction left unclipped; 0.5.'
    )
    flags.DEFINE_float(
        'adaptive_clip_learning_rate', None, 'Adaptive clip: rate of log C; 0.2.'
    )
    flags.DEFINE_float(
        'clipped_count_stddev',
        None,
        'Adaptive clip: noise on the count of unclipped updates; m/20 by default.',
    )


def plan(num_users: int):
    """Builds the `privacy.PrivacyPlan` that the flags describe.

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
    from dp_fedemb import privacy

    first = uncalibrated_plan(num_users, _FIRST_NOISE_MULTIPLIER)
    return privacy.calibrate(first, FLAGS.target_epsilon)


def uncalibrated_plan(
    num_users: int, noise_multiplier: float | None, rounds: int | None = None
):
    """Builds the plan with this noise multiplier, whatever --target_epsilon says.

    Args:
        num_users: N.
        noise_multiplier: z; None for no noise.
        rounds: --rounds by default.

    Raises:
        ValueError: as `plan`.
    """
    from dp_fedemb import privacy

    mechanism = _mechanism(noise_multiplier)
    return privacy.PrivacyPlan(
        num_users=num_users,
        virtual_clients_per_round=FLAGS.virtual_clients_per_round,
        users_per_virtual_client=FLAGS.users_per_virtual_client,
        rounds=FLAGS.rounds if rounds is None else rounds,
        mechanism=mechanism,
        sampling=_sampling(mechanism),
        delta=FLAGS.delta,
        noise_cohort_size=FLAGS.noise_cohort_size,
    )


def fewest_users(noise_multiplier: float | None) -> int:
    """Returns the smallest population that the flags are possible with."""
    from dp_fedemb import privacy

    m, k = FLAGS.virtual_clients_per_round, FLAGS.users_per_virtual_client
    sampling = _sampling(_mechanism(noise_multiplier))
    return sampling.fewest_users(privacy.Population(m * k, m, k), FLAGS.rounds)


def _mechanism(noise_multiplier):
    from dp_fedemb import privacy

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
    return chosen(**numbers, **_options(chosen, privacy.MECHANISMS, _MECHANISM_OPTIONS))


def _sampling(mechanism):
    from dp_fedemb import privacy

    name = FLAGS.sampling
    if name is None:
        # The only sampler whose participation the noise of trees can be accounted for.
        name = 'poisson' if mechanism.independent_rounds else 'min_separation'
    chosen = _choose('sampling', privacy.SAMPLINGS, name)
    return chosen(**_options(chosen, privacy.SAMPLINGS, _SAMPLING_OPTIONS))


def _choose(name, choices, value):
    from dp_fedemb import validate

    validate.one_of(name, value, choices)
    return choices[value]


def _options(cls, choices, names):
    """Returns the given options as fields of `cls`, one of `choices`."""
    own = _fields(cls)
    given = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    for name, value in given.items():
        if name not in own:
            takers = [key for key, other in choices.items() if name in _fields(other)]
            raise ValueError(
                f'{name}={value}: an option of {" and ".join(takers)}, not of {cls.name};'
                ' leave it out or choose one that has it'
            )
    return given


def _fields(cls):
    return {field.name for field in dataclasses.fields(cls)}
