"""The privacy statement of a run, as JSON and as text.

Follows the reporting list of Ponomareva et al., *How to DP-fy ML* (2023, arXiv
2303.00654, section 5.3): setting, unit, relation, guarantee, accounting and
assumptions, what is covered and what is not.
"""

import math
from typing import Any, Optional

from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import plan as plan_lib

RELEASED = (
    'backbone weights of every round (checkpoints, SavedModel)',
    'what is computed from them, the clip norm and the privacy ledger',
)
NOT_COVERED = (
    'choice of hyper-parameters, if it looked at the private users',
    'evaluation data and the figures computed on them (their people are not training users)',
    'public pretraining data',
    'number of users in the population, which is taken as public',
)
CAVEATS = (
    'noise is float32 from a counter-based generator (Philox), which is neither'
    ' cryptographic nor hardened against floating-point attacks (Mironov 2012)',
    'the guarantee is central: it trusts the server that adds the noise',
)


def build(
    plan: plan_lib.PrivacyPlan,
    *,
    rounds_completed: Optional[int] = None,
    seed_given: bool = False,
    raw_metrics: bool = False,
    noised_weights: Optional[int] = None,
) -> dict[str, Any]:
    """Returns the statement as JSON values.

    Infinite and undefined epsilons are null; `private` tells them apart from finite
    ones, and `epsilon_rdp_user` is null too where RDP has no analysis.

    Args:
        plan: the plan that the run followed.
        rounds_completed: rounds that were released; the planned ones by default.
        seed_given: whether the secret seed came from the command line.
        raw_metrics: whether training metrics were written without noise.
        noised_weights: number of coordinates that were noised.
    """
    rounds = plan.rounds if rounds_completed is None else rounds_completed
    guarantee = plan.guarantee_population
    mechanism = plan.mechanism
    not_covered = list(NOT_COVERED)
    if raw_metrics:
        not_covered.insert(0, 'training metrics, which this run wrote without noise')
    caveats = list(CAVEATS)
    if seed_given:
        caveats.append(
            'the seed was given on the command line: the guarantee holds only while it,'
            ' and the flags that name it, stay secret'
        )
    else:
        caveats.append('the secret seed is in the checkpoints: publish those only without it')
    hypothetical = None
    if plan.noise_cohort_size is not None:
        hypothetical = (
            f'SIMULATION: the noise is that of {guarantee.virtual_clients_per_round} virtual'
            f' clients per round out of {guarantee.num_users} users. The epsilon belongs to'
            ' that hypothetical deployment; this run itself has no guarantee.'
        )
    return {
        'private': plan.private,
        'hypothetical': hypothetical,
        'unit': 'user: all images of one person or owner',
        'neighboring_relation': plan.sampling.relation_text,
        'epsilon_user': _finite(plan, rounds, 'user', 'pld'),
        'epsilon_virtual_client': _finite(plan, rounds, 'virtual_client', 'pld'),
        'epsilon_rdp_user': _finite(plan, rounds, 'user', 'rdp'),
        'delta': plan.guarantee_delta,
        'accountant': plan.sampling.accountants[0],
        'accountant_version': f'dp-accounting {accounting.accountant_version()}',
        'sampling': plan.sampling.name,
        'sampling_probability': guarantee.sampling_probability,
        'mechanism': mechanism.name,
        'noise_multiplier': mechanism.noise_multiplier,
        'clip_norm': mechanism.clip_norm if math.isfinite(mechanism.clip_norm) else None,
        'sensitivity_over_clip': plan.sensitivity_over_clip,
        'noise_stddev_on_sum': plan.noise_stddev,
        'num_users': guarantee.num_users,
        'virtual_clients_per_round': guarantee.virtual_clients_per_round,
        'users_per_virtual_client': guarantee.users_per_virtual_client,
        'rounds_completed': rounds,
        'rounds_planned': plan.rounds,
        'noised_weights': noised_weights,
        'seed_given': seed_given,
        'released': list(RELEASED),
        'not_covered': not_covered,
        'caveats': caveats,
    }


def _finite(plan, rounds, unit, accountant):
    if accountant not in plan.sampling.accountants:
        accountant = plan.sampling.accountants[0]
    try:
        value = plan.epsilon(rounds, unit, accountant)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def text(statement: dict[str, Any]) -> str:
    """Returns a statement as text for people."""
    s = statement
    lines = ['PRIVACY STATEMENT', '']
    if s['hypothetical']:
        lines += [s['hypothetical'], '']
    if not s['private']:
        lines += [
            'NOT PRIVATE: this run has no differential privacy guarantee'
            f' (mechanism: {s["mechanism"]}).',
            '',
        ]
    elif s['epsilon_user'] is None:
        lines += ['The accountant has no finite epsilon for this run.', '']
    else:
        lines += [
            f'The released model is ({s["epsilon_user"]:.4g}, {s["delta"]:.3g})-differentially'
            ' private at the level of users,',
            f'neighbours being data sets that {s["neighboring_relation"]}'
            f' ({s["accountant"].upper()}, {s["accountant_version"]}).',
            '',
        ]
        if s['epsilon_virtual_client'] is not None:
            lines += [
                'In the convention of the literature, whose unit is a virtual client and not a'
                f' user: epsilon {s["epsilon_virtual_client"]:.4g}.',
                '',
            ]
    clip = 'none' if s['clip_norm'] is None else f'{s["clip_norm"]:g}'
    lines += [
        f'  users (N)                    {s["num_users"]}',
        f'  virtual clients a round (m)  {s["virtual_clients_per_round"]}',
        f'  users a virtual client (k)   {s["users_per_virtual_client"]}',
        f'  sampling                     {s["sampling"]}, q = {s["sampling_probability"]:.4g}',
        f'  rounds                       {s["rounds_completed"]} of {s["rounds_planned"]}',
        f'  mechanism                    {s["mechanism"]}, z = {s["noise_multiplier"]:.5g},'
        f' clip C = {clip}',
        f'  sensitivity                  {s["sensitivity_over_clip"]:g} C',
        f'  noise on the sum             {s["noise_stddev_on_sum"]:.5g} per coordinate',
    ]
    if s['noised_weights'] is not None:
        lines.append(f'  noised weights               {s["noised_weights"]}')
    for title, key in (('Released', 'released'), ('Not covered', 'not_covered'), ('Caveats', 'caveats')):
        lines += ['', f'{title}:'] + [f'  - {item}' for item in s[key]]
    return '\n'.join(lines) + '\n'
