"""The privacy statement of a run, as JSON and as text.

Follows the reporting list of Ponomareva et al., *How to DP-fy ML* (2023, arXiv
2303.00654, section 5.3): the setting, what is covered, what is released, unit and
neighbouring relation, the guarantee, how it was accounted and whether the assumptions
hold, and how to verify it.
"""

import dataclasses
import math
from typing import Any, Optional

from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import rounding
from dp_fedemb.privacy import sampling as sampling_lib
from dp_fedemb.privacy.reporting import statement_text

SETTING = (
    'central differential privacy: the server is trusted, sees clipped updates, and adds'
    ' the noise'
)
DATA_ACCESSES = (
    "all reading of the training users' images by the rounds of this run: local fine-tuning,"
    ' clipping, and the counts that an adaptive clip norm follows'
)
RELEASED = ('backbone weights of every round (SavedModel) and what is computed from them',)
# Not released: what is here would undo the guarantee.
SECRETS = (
    'the seed, from which cohorts, heads and noise follow',
    'the checkpoints, which hold the seed: publish the SavedModel, never these',
    'who took part in which round',
)
NOT_COVERED = (
    'choice of hyper-parameters and of the round to keep, if private users were looked at',
    'evaluation data and figures computed on them (their people are not training users)',
    'public pretraining data',
    'the number of users and the settings of the run, which are taken as public',
    'how long rounds took, and the number of examples a second on the console',
    'links between users: a person whose images several users hold is covered as each of'
    ' them, not as one',
)
CAVEATS = (
    'noise, cohorts and heads come from counter-based generators (Philox), keyed by one'
    ' secret seed: statistically sound, not cryptographically proven',
    'noise is float32 and not hardened against attacks on floating-point Gaussians'
    ' (Mironov 2012)',
    'figures of other mechanisms run on the same users add up; this is one run alone',
)
# Fields of a mechanism that change what is computed from the noise, not what it costs.
_FREE_FIELDS = ('efficient',)


def statement(
    plan: plan_lib.PrivacyPlan,
    rounds_completed: Optional[int] = None,
    *,
    seed_given: bool = False,
    raw_metrics: bool = False,
    noised_weights: Optional[int] = None,
    observed: Optional[sampling_lib.Observed] = None,
    start: Optional[str] = None,
) -> dict[str, Any]:
    """Returns the statement as JSON values.

    JSON has no infinity: an epsilon that is infinite (not private) is null. Fields that
    do not apply are null, too. With `plan.noise_cohort_size` the run has no epsilon: the
    fields of the guarantee are null, and those of the simulated deployment are in
    `deployment`, so that nobody reads one for the other.

    Args:
        plan: the plan that the run followed.
        rounds_completed: rounds that were released; the planned ones by default.
        seed_given: whether the secret seed came from the command line.
        raw_metrics: whether training metrics were written without noise.
        noised_weights: number of coordinates that were noised.
        observed: participation measured on the run's own cohorts
            (`PrivateRun.observed`), checked against what was accounted.
        start: whose images the start weights have seen; None for fresh weights.

    Raises:
        ValueError: if `observed` contradicts the schedule that the epsilon is about.
    """
    rounds = plan.rounds if rounds_completed is None else rounds_completed
    mechanism = plan.mechanism
    clip = mechanism.clip_norm if math.isfinite(mechanism.clip_norm) else None
    guarantee = _guarantee(plan, rounds)
    nothing = dict.fromkeys(guarantee)
    return {
        'private': plan.private and not plan.hypothetical,
        'hypothetical': plan.hypothetical,
        'setting': SETTING,
        'data_accesses': DATA_ACCESSES,
        'unit': 'user: all images of one person or owner',
        'neighboring_relation': plan.relation.code,
        'neighboring_relation_text': plan.relation.text,
        'neighboring_relation_meaning': plan.relation.meaning,
        'present_absent_text': plan.sampling.relation('present_absent').text,
        'present_absent_meaning': plan.sampling.relation('present_absent').meaning,
        **(nothing if plan.hypothetical else guarantee),
        'epsilon_virtual_client_note': statement_text.VIRTUAL_CLIENT_NOTE,
        'accountant': 'pld',
        'accountant_version': accounting.accountant_version(),
        'assumptions': plan.sampling.assumption_text,
        'sampler': plan.sampling.name,
        'sampling': plan.sampling.name,
        'grouping': getattr(plan.sampling, 'grouping', None),
        'sampling_probability': plan.sampling_probability,
        'participation': _participation(plan, rounds, observed),
        'mechanism': mechanism.name,
        'mechanism_fields': plan.to_json()['mechanism'],
        'noise_multiplier': mechanism.noise_multiplier,
        'noise_multiplier_of_sum': mechanism.sum_noise_multiplier,
        'noise_scale': plan.noise_scale,
        'clip_norm': clip,
        'sensitivity_over_clip': plan.sensitivity_over_clip,
        'sensitivity_over_clip_present_absent': plan.sampling.record_change(
            plan.population, 'present_absent'
        ).update,
        'sensitivity': None if clip is None else plan.sensitivity_over_clip * clip,
        'noise_stddev_on_sum': plan.noise_stddev,
        'num_users': plan.num_users,
        'virtual_clients_per_round': plan.virtual_clients_per_round,
        'users_per_virtual_client': plan.users_per_virtual_client,
        'rounds_completed': rounds,
        'rounds_planned': plan.rounds,
        'noised_weights': noised_weights,
        'start': start or 'fresh weights',
        'seed_given': seed_given,
        'released': [*RELEASED, *mechanism.released],
        'secrets': list(SECRETS),
        'not_covered': _not_covered(raw_metrics),
        'caveats': _caveats(seed_given),
        'verify': _verify(plan, rounds),
        'deployment': _deployment(plan, guarantee) if plan.hypothetical else None,
    }


def _guarantee(plan, rounds):
    """Epsilon, delta and rho of the population that they are about; all null if none."""
    private = plan.private
    return {
        'epsilon_user': _epsilon(plan, rounds),
        'epsilon_user_rdp': _epsilon(plan, rounds, 'user', 'rdp'),
        'epsilon_present_absent': _epsilon(plan, rounds, 'present_absent'),
        'epsilon_present_absent_rdp': _epsilon(plan, rounds, 'present_absent', 'rdp'),
        'epsilon_virtual_client': _epsilon(plan, rounds, 'virtual_client'),
        'delta': plan.guarantee_delta if private else None,
        'rho': _finite(plan.zcdp_rho(rounds)) if private else None,
    }


def _epsilon(
    plan: plan_lib.PrivacyPlan, rounds: int, unit: str = 'user', accountant: str = 'pld'
) -> Optional[float]:
    """Epsilon as it is printed, rounded up; None if there is none."""
    if not plan.private:
        return None
    return _finite(rounding.rounded_up(plan.epsilon(rounds, unit, accountant)))


def _finite(value):
    return value if value is not None and math.isfinite(value) else None


def _deployment(plan, guarantee):
    simulated = plan.guarantee_population
    return {
        'note': (
            f'SIMULATION: the noise is that of a deployment with'
            f' {simulated.virtual_clients_per_round} virtual clients a round out of'
            f' {simulated.num_users} users (same k, q and rounds), scaled by'
            f' {plan.noise_scale:.4g} to this run of {plan.virtual_clients_per_round} out of'
            f' {plan.num_users}. The epsilon belongs to that deployment; this run itself has'
            ' no guarantee.'
        ),
        'num_users': simulated.num_users,
        'virtual_clients_per_round': simulated.virtual_clients_per_round,
        'users_per_virtual_client': simulated.users_per_virtual_client,
        'sampling_probability': simulated.sampling_probability,
        **guarantee,
    }


def _verify(plan, rounds):
    """The command that computes the guarantee again; None if there is none."""
    if not plan.private or rounds == 0:
        return None
    values = {
        'num_users': plan.num_users,
        'virtual_clients_per_round': plan.virtual_clients_per_round,
        'users_per_virtual_client': plan.users_per_virtual_client,
        'rounds': rounds,
        'delta': plan.delta,
        'noise_cohort_size': plan.noise_cohort_size,
    }
    for kind, part in (('mechanism', plan.mechanism), ('sampling', plan.sampling)):
        values[kind] = part.name
        for field in dataclasses.fields(part):
            if field.name not in _FREE_FIELDS:
                values[field.name] = getattr(part, field.name)
    given = [f'--{name}={value}' for name, value in values.items() if value is not None]
    return ' '.join(['bin/privacy.py epsilon', *given])


def _participation(plan, rounds, observed):
    """Bounds the accountant used, and what the cohorts showed."""
    schedule = getattr(plan.sampling, 'participation', None)
    if schedule is None:
        return None
    schedule = schedule(plan.guarantee_population)
    bounds = {
        'min_separation': schedule.min_separation,
        'max_participations': schedule.most(rounds),
        'observed_min_separation': None,
        'observed_max_participations': None,
    }
    if observed is None:
        return bounds
    separation = observed.min_separation
    too_close = separation is not None and separation < schedule.min_separation
    if too_close or observed.max_participations > schedule.most(observed.rounds):
        raise ValueError(
            f'observed={observed}: expected a separation of at least'
            f' {schedule.min_separation} and at most {schedule.most(observed.rounds)}'
            ' participations; the cohorts are not those of this plan'
        )
    bounds['observed_min_separation'] = separation
    bounds['observed_max_participations'] = observed.max_participations
    return bounds


def _not_covered(raw_metrics):
    if not raw_metrics:
        return list(NOT_COVERED)
    return ['training metrics, which this run wrote without noise', *NOT_COVERED]


def _caveats(seed_given):
    if seed_given:
        seed = (
            'the seed was given on the command line: the guarantee holds only while it, and'
            ' every log and file that names it, stay secret, and no other run has it (two'
            ' runs with one seed share their noise, and their difference has none)'
        )
    else:
        seed = 'the secret seed is from the operating system, and in the checkpoints'
    return [seed, *CAVEATS]
