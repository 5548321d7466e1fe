"""The privacy statement of a run, as JSON and as text.

Follows the reporting list of Ponomareva et al., *How to DP-fy ML* (2023, arXiv
2303.00654, section 5.3): the setting, what is covered, what is released, unit and
neighbouring relation, the guarantee, how it was accounted and whether the assumptions
hold, and how to verify it.
"""

import math
from typing import TYPE_CHECKING, Any, Optional

from dp_fedemb.privacy import accounting

if TYPE_CHECKING:
    from dp_fedemb.privacy import plan as plan_lib
    from dp_fedemb.privacy import sampling as sampling_lib

SETTING = (
    'central differential privacy: the server is trusted, sees clipped updates, and adds'
    ' the noise'
)
RELEASED = (
    'backbone weights of every round (checkpoints, SavedModel) and what is computed from them',
)
NOT_COVERED = (
    'choice of hyper-parameters and of the round to keep, if private users were looked at',
    'evaluation data and the figures computed on them (their people are not training users)',
    'public pretraining data',
    'the number of users and the settings of the run, which are taken as public',
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
VIRTUAL_CLIENT_NOTE = (
    'noise against C, as the literature reports: its unit is one virtual client, not one'
    ' user; for comparison only'
)


def build(
    plan: 'plan_lib.PrivacyPlan',
    rounds_completed: Optional[int] = None,
    *,
    seed_given: bool = False,
    raw_metrics: bool = False,
    noised_weights: Optional[int] = None,
    observed: 'Optional[sampling_lib.Observed]' = None,
) -> dict[str, Any]:
    """Returns the statement as JSON values.

    JSON has no infinity: an epsilon that is infinite (not private) is null, and `private`
    and `hypothetical` say why. Fields that do not apply are null, too.

    Args:
        plan: the plan that the run followed.
        rounds_completed: rounds that were released; the planned ones by default.
        seed_given: whether the secret seed came from the command line.
        raw_metrics: whether training metrics were written without noise.
        noised_weights: number of coordinates that were noised.
        observed: participation measured on the run's own cohorts
            (`plan.sampler(seed).observed(rounds)`), checked against what was accounted.

    Raises:
        ValueError: if `observed` contradicts the schedule that the epsilon is about.
    """
    rounds = plan.rounds if rounds_completed is None else rounds_completed
    guarantee = plan.guarantee_population
    mechanism = plan.mechanism
    clip = mechanism.clip_norm if math.isfinite(mechanism.clip_norm) else None
    hypothetical = plan.noise_cohort_size is not None
    return {
        'private': plan.private and not hypothetical,
        'hypothetical': hypothetical,
        'hypothetical_note': _hypothetical_note(plan) if hypothetical else None,
        'setting': SETTING,
        'unit': 'user: all images of one person or owner',
        'neighboring_relation': plan.neighboring_relation.name,
        'neighboring_relation_text': plan.sampling.relation_text,
        'epsilon_user': _finite(plan.epsilon(rounds)),
        'epsilon_user_rdp': _finite(plan.epsilon(rounds, accountant='rdp')),
        'epsilon_virtual_client': _finite(plan.epsilon(rounds, 'virtual_client')),
        'epsilon_virtual_client_note': VIRTUAL_CLIENT_NOTE,
        'delta': plan.guarantee_delta,
        'rho': _finite(plan.zcdp_rho(rounds)) if plan.private else None,
        'accountant': 'pld',
        'accountant_version': f'dp-accounting {accounting.accountant_version()}',
        'sampler': plan.sampling.name,
        'sampling_probability': guarantee.sampling_probability,
        'participation': _participation(plan, rounds, observed),
        'mechanism': mechanism.name,
        'mechanism_fields': plan.to_json()['mechanism'],
        'noise_multiplier': mechanism.noise_multiplier,
        'noise_multiplier_of_sum': mechanism.sum_noise_multiplier,
        'clip_norm': clip,
        'sensitivity_over_clip': plan.sensitivity_over_clip,
        'sensitivity': None if clip is None else plan.sensitivity_over_clip * clip,
        'noise_stddev_on_sum': plan.noise_stddev,
        'num_users': guarantee.num_users,
        'virtual_clients_per_round': guarantee.virtual_clients_per_round,
        'users_per_virtual_client': guarantee.users_per_virtual_client,
        'rounds_completed': rounds,
        'rounds_planned': plan.rounds,
        'noised_weights': noised_weights,
        'seed_given': seed_given,
        'released': [*RELEASED, *mechanism.released],
        'not_covered': _not_covered(raw_metrics),
        'caveats': _caveats(seed_given),
    }


def _finite(value):
    return value if value is not None and math.isfinite(value) else None


def _hypothetical_note(plan):
    guarantee = plan.guarantee_population
    return (
        f'SIMULATION: the noise is that of a deployment with'
        f' {guarantee.virtual_clients_per_round} virtual clients a round out of'
        f' {guarantee.num_users} users (same k, q and rounds), scaled by'
        f' {plan.noise_scale:.4g} to this run of {plan.virtual_clients_per_round} out of'
        f' {plan.num_users}. The epsilon belongs to that deployment; this run itself has'
        ' no guarantee.'
    )


def _participation(plan, rounds, observed):
    """Bounds the accountant used, and what the cohorts showed."""
    schedule = getattr(plan.sampling, 'participation', None)
    if schedule is None:
        return None
    schedule = schedule(plan.population)
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
            ' every log and file that names it, stay secret'
        )
    else:
        seed = (
            'the secret seed, from the operating system, is in the checkpoints: publish'
            ' those only without it'
        )
    return [seed, *CAVEATS]


def text(statement: dict[str, Any]) -> str:
    """Returns a statement as text for people."""
    s = statement
    lines = ['PRIVACY STATEMENT', '', *_headline(s), '']
    clip = 'none' if s['clip_norm'] is None else f'{s["clip_norm"]:g}'
    absolute = '' if s['sensitivity'] is None else f' = {s["sensitivity"]:g}'
    rows = [
        ('setting', s['setting'].split(':')[0]),
        ('unit', s['unit']),
        ('neighbouring data sets', s['neighboring_relation_text']),
        ('users (N)', s['num_users']),
        ('virtual clients a round (m)', s['virtual_clients_per_round']),
        ('users a virtual client (k)', s['users_per_virtual_client']),
        ('sampler', f'{s["sampler"]}, q = {s["sampling_probability"]:.4g}'),
        ('rounds', f'{s["rounds_completed"]} of {s["rounds_planned"]} planned'),
        ('mechanism', s['mechanism']),
        ('noise multiplier (z)', f'{s["noise_multiplier"]:.6g}'),
        ('clip norm (C)', clip),
        ('sensitivity', f'{s["sensitivity_over_clip"]:g} C{absolute}'),
        ('noise on the sum', f'{s["noise_stddev_on_sum"]:.6g} per coordinate'),
    ]
    if s['noised_weights'] is not None:
        rows.append(('noised weights', s['noised_weights']))
    if s['participation'] is not None:
        rows += _participation_rows(s['participation'])
    if s['epsilon_user'] is not None:
        rows += _guarantee_rows(s)
    lines += [f'  {name:<28} {value}' for name, value in rows]
    for title, key in (
        ('Released', 'released'),
        ('Not covered', 'not_covered'),
        ('Caveats', 'caveats'),
    ):
        lines += ['', f'{title}:'] + [f'  - {item}' for item in s[key]]
    return '\n'.join(lines) + '\n'


def _headline(s):
    if s['epsilon_user'] is None:
        return [
            'NOT PRIVATE: this run has no differential privacy guarantee'
            f' (mechanism: {s["mechanism"]}).'
        ]
    what = 'The released model is'
    lines = []
    if s['hypothetical']:
        lines += [s['hypothetical_note'], '']
        what = 'A model of that deployment would be'
    return lines + [
        f'{what} ({s["epsilon_user"]:.4g}, {s["delta"]:.3g})-differentially private at the'
        ' level of users.'
    ]


def _participation_rows(participation):
    rows = [
        ('minimum separation', participation['min_separation']),
        ('most participations', participation['max_participations']),
    ]
    if participation['observed_max_participations'] is not None:
        rows.append(
            (
                'observed',
                f'separation {participation["observed_min_separation"]},'
                f' participations {participation["observed_max_participations"]}',
            )
        )
    return rows


def _guarantee_rows(s):
    rows = [
        ('epsilon, user', f'{s["epsilon_user"]:.5g} ({s["accountant"].upper()})'),
        ('epsilon, user, by RDP', f'{s["epsilon_user_rdp"]:.5g}'),
        (
            'epsilon, virtual client',
            f'{s["epsilon_virtual_client"]:.5g} ({s["epsilon_virtual_client_note"]})',
        ),
        ('delta', f'{s["delta"]:.4g}'),
        ('accountant', s['accountant_version']),
    ]
    if s['rho'] is not None:
        rows.insert(3, ('rho (zCDP), user', f'{s["rho"]:.5g}'))
    return rows
