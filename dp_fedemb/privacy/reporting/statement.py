"""The privacy statement of a run, as JSON and as text.

Follows the reporting list of Ponomareva et al., *How to DP-fy ML* (2023, arXiv
2303.00654, section 5.3): the setting, what is covered, what is released, unit and
neighbouring relation, the guarantee, how it was accounted and whether the assumptions
hold, and how to verify it.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any, Optional

from dp_fedemb import validate
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import rounding
from dp_fedemb.privacy import sampling as sampling_lib
from dp_fedemb.privacy.reporting import ancestors as ancestors_lib
from dp_fedemb.privacy.reporting import recomputation
from dp_fedemb.privacy.reporting import statement_text
from dp_fedemb.privacy.reporting import tuned

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
    'cohorts and heads come from counter-based generators (Philox), keyed by one secret seed:'
    ' statistically sound, not cryptographically proven',
    'figures of other mechanisms run on the same users add up; this is one run alone',
)
# Where nobody says what the noise was drawn from: nothing is claimed.
NOISE_BITS = (
    'bits that this statement was not told of; the guarantee holds as far as they are those'
    ' of a Gaussian that nobody else knows'
)
# Field -> unit and accountant of an epsilon.
_EPSILONS = {
    'epsilon_user': ('user', 'pld'),
    'epsilon_user_rdp': ('user', 'rdp'),
    'epsilon_present_absent': ('present_absent', 'pld'),
    'epsilon_present_absent_rdp': ('present_absent', 'rdp'),
    'epsilon_virtual_client': ('virtual_client', 'pld'),
}


def statement(
    plan: plan_lib.PrivacyPlan,
    rounds_completed: Optional[int] = None,
    *,
    algorithm: str = 'dp_fedemb',
    seed_given: bool = False,
    weak_seed: bool = False,
    raw_metrics: bool = False,
    noised_weights: Optional[int] = None,
    observed: Optional[sampling_lib.Observed] = None,
    start: Optional[str] = None,
    ancestors: Sequence[ancestors_lib.Ancestor] = (),
    noise_bits: str = NOISE_BITS,
    statistical_distance: float = 0.0,
    repeated_releases: int = 0,
    tuning: Optional[str] = None,
) -> dict[str, Any]:
    """Returns the statement as JSON values.

    JSON has no infinity: an epsilon that is infinite (not private) is null. Fields that
    do not apply are null, too. With `plan.noise_cohort_size` the run has no epsilon: the
    fields of the guarantee are null, and those of the simulated deployment are in
    `deployment`, so that nobody reads one for the other. Epsilons and deltas are rounded
    up. `epsilon_user` is this run's own; `epsilon_user_total` has the ancestors in it.

    Args:
        plan: the plan that the run followed.
        rounds_completed: rounds that were released; the planned ones by default.
        algorithm: what trained, `dp_fedemb` or `fedavg`.
        seed_given: whether the secret seed came from the command line.
        weak_seed: whether it can be guessed (`PrivateRun.weak_seed`).
        raw_metrics: whether training metrics were written without noise.
        noised_weights: number of coordinates that were noised.
        observed: participation measured on the run's own cohorts
            (`PrivateRun.observed`), checked against what was accounted.
        start: whose images the start weights have seen; None for fresh weights.
        ancestors: the private runs behind the start (`ancestors.of_start`).
        noise_bits: which random bits the noise was drawn from, in words.
        statistical_distance: bound, over all draws of the run together, on the total
            variation between the noise that was drawn and the noise that is accounted.
        repeated_releases: rounds that were computed again with fresh noise after an
            interruption: each is one more release of the same cohort.
        tuning: how the settings were chosen, in words, where that costs the users of this
            run nothing; see `reporting.tuned` for where it does.

    Raises:
        ValueError: if `observed` contradicts the schedule that the epsilon is about, or a
            number is out of range.
    """
    rounds = plan.rounds if rounds_completed is None else rounds_completed
    validate.probability(statistical_distance=statistical_distance)
    mechanism = plan.mechanism
    clip = mechanism.clip_norm if math.isfinite(mechanism.clip_norm) else None
    guarantee = _guarantee(plan, rounds, statistical_distance, repeated_releases)
    nothing = dict.fromkeys(guarantee)
    own = plan.private and not plan.hypothetical and not weak_seed
    epsilon, delta = guarantee['epsilon_user'], guarantee['delta']
    own = own and epsilon is not None and delta is not None and delta < 1
    total = None
    if own and epsilon is not None and delta is not None:
        total = ancestors_lib.added(epsilon, delta, ancestors)
    return {
        'private': total is not None,
        'private_by_itself': own,
        'hypothetical': plan.hypothetical,
        'setting': SETTING,
        'algorithm': algorithm,
        'data_accesses': DATA_ACCESSES,
        'unit': 'user: all images of one person or owner',
        'neighboring_relation': plan.relation.code,
        'neighboring_relation_text': plan.relation.text,
        'neighboring_relation_meaning': plan.relation.meaning,
        'present_absent_text': plan.sampling.relation('present_absent').text,
        'present_absent_meaning': plan.sampling.relation('present_absent').meaning,
        **(nothing if plan.hypothetical else guarantee),
        'epsilon_user_total': total and rounding.rounded_up(total[0]),
        'delta_total': total and total[1],
        'ancestors': [dataclasses.asdict(ancestor) for ancestor in ancestors],
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
        'noise_bits': noise_bits,
        'statistical_distance': statistical_distance,
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
        'repeated_releases': repeated_releases,
        'noised_weights': noised_weights,
        'start': start or 'fresh weights',
        'seed_given': seed_given,
        'weak_seed': weak_seed,
        'released': [*RELEASED, *mechanism.released],
        'secrets': list(SECRETS),
        'not_covered': _not_covered(raw_metrics, tuning),
        'tuning': tuning,
        'caveats': _caveats(seed_given, noise_bits),
        'verify': recomputation.command(plan, rounds),
        'deployment': _deployment(plan, guarantee) if plan.hypothetical else None,
    }


def _guarantee(
    plan: plan_lib.PrivacyPlan, rounds: int, distance: float = 0.0, repeated: int = 0
) -> dict[str, Optional[float]]:
    """Epsilon, delta and rho of the population that they are about; all null if none.

    Noise that is within a total variation of t of the accounted one costs delta t twice:
    P'(A) <= P(A) + t <= e^epsilon Q(A) + delta + t <= e^epsilon (Q'(A) + t) + delta + t.
    """
    if not plan.private:
        return dict.fromkeys([*_EPSILONS, 'delta', 'rho'])
    epsilons = {
        name: _finite(rounding.rounded_up(plan.epsilon(rounds, unit, accountant, repeated)))
        for name, (unit, accountant) in _EPSILONS.items()
    }
    headline = epsilons['epsilon_user']
    delta = plan.guarantee_delta
    if distance:
        grown = math.exp(min(headline, 700.0)) if headline is not None else math.inf
        delta = min(delta + (1 + grown) * distance, 1.0)
    return {
        **epsilons,
        'delta': delta,
        'rho': _finite(plan.zcdp_rho(rounds)) if not repeated else None,
    }


def _finite(value: Optional[float]) -> Optional[float]:
    return value if value is not None and math.isfinite(value) else None


def _deployment(
    plan: plan_lib.PrivacyPlan, guarantee: dict[str, Optional[float]]
) -> dict[str, Any]:
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


def _participation(
    plan: plan_lib.PrivacyPlan, rounds: int, observed: Optional[sampling_lib.Observed]
) -> Optional[dict[str, Any]]:
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


def _not_covered(raw_metrics: bool, tuning: Optional[str]) -> list[str]:
    found = list(NOT_COVERED)
    if tuning is not None:
        found = [line for line in found if not line.startswith(tuned.CHOICE)]
    if not raw_metrics:
        return found
    return ['training metrics, which this run wrote without noise', *found]


def _caveats(seed_given: bool, noise_bits: str) -> list[str]:
    if seed_given:
        seed = (
            'the seed was given on the command line: the guarantee holds only while it, and'
            ' every log and file that names it, stay secret, and no other run has it (two'
            ' runs with one seed share their noise, and their difference has none)'
        )
    else:
        seed = 'the secret seed is from the operating system, and in the checkpoints'
    return [seed, f'the noise is drawn from {noise_bits}', *CAVEATS]
