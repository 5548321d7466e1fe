"""A privacy statement as text for people."""

from typing import Any

from dp_fedemb.privacy import rounding

VIRTUAL_CLIENT_NOTE = (
    'noise against C, as the literature reports: its unit is one virtual client, not one'
    ' user; for comparison only'
)
# Ponomareva et al. (2023, arXiv 2303.00654), section 5.2: up to here a guarantee counts
# as reasonable.
WEAK_EPSILON = 10


def headline(statement: dict[str, Any]) -> list[str]:
    """Returns the guarantee of a statement in sentences, or that there is none."""
    s = statement
    if s['hypothetical']:
        deployment = s['deployment']
        return [
            'NOT PRIVATE: this run has no differential privacy guarantee of its own.',
            deployment['note'],
            f'A model of that deployment would be {_guarantee_phrase(deployment)}.',
        ]
    if s['epsilon_user'] is None:
        return [
            'NOT PRIVATE: this run has no differential privacy guarantee'
            f' (mechanism: {s["mechanism"]}).'
        ]
    lines = [f'The released model is {_guarantee_phrase(s)}.']
    if s['epsilon_user'] > WEAK_EPSILON:
        lines.append(f'An epsilon above {WEAK_EPSILON} gives little formal protection.')
    return lines


def _guarantee_phrase(guarantee):
    return (
        f'({rounding.text(guarantee["epsilon_user"])}, {rounding.text(guarantee["delta"])})'
        '-differentially private at the level of users'
    )


def text(statement: dict[str, Any]) -> str:
    """Returns a statement as text for people."""
    s = statement
    lines = ['PRIVACY STATEMENT', '', *headline(s), '']
    clip = 'none' if s['clip_norm'] is None else f'{s["clip_norm"]:g}'
    absolute = '' if s['sensitivity'] is None else f' = {s["sensitivity"]:g}'
    rows = [
        ('setting', s['setting']),
        ('covers', s['data_accesses']),
        ('unit', s['unit']),
        ('neighbouring data sets', s['neighboring_relation_text']),
        ('which means', s['neighboring_relation_meaning']),
        ('present or absent means', s['present_absent_meaning']),
        ('users (N)', s['num_users']),
        ('virtual clients a round (m)', s['virtual_clients_per_round']),
        ('users a virtual client (k)', s['users_per_virtual_client']),
        ('grouping', s['grouping'] or 'none: k users to a virtual client'),
        ('sampler', f'{s["sampler"]}, q = {s["sampling_probability"]:.4g}'),
        ('assumes', s['assumptions']),
        ('rounds', f'{s["rounds_completed"]} of {s["rounds_planned"]} planned'),
        ('mechanism', s['mechanism']),
        ('noise multiplier (z)', f'{s["noise_multiplier"]:.6g}'),
        ('clip norm (C)', clip),
        ('sensitivity', f'{s["sensitivity_over_clip"]:g} C{absolute}'),
        ('noise on the sum', f'{s["noise_stddev_on_sum"]:.6g} per coordinate'),
    ]
    if s['noised_weights'] is not None:
        rows.append(('noised weights', s['noised_weights']))
    rows.append(('start', s['start']))
    if s['participation'] is not None:
        rows += _participation_rows(s['participation'])
    if s['epsilon_user'] is not None:
        rows += guarantee_rows(s, s['accountant_version'])
    if s['deployment'] is not None:
        rows += _deployment_rows(s)
    if s['verify'] is not None:
        rows.append(('verify with', s['verify']))
    lines += [f'  {name:<28} {value}' for name, value in rows]
    for title, key in (
        ('Released', 'released'),
        ('To be kept secret', 'secrets'),
        ('Not covered', 'not_covered'),
        ('Caveats', 'caveats'),
    ):
        lines += ['', f'{title}:'] + [f'  - {item}' for item in s[key]]
    return '\n'.join(lines) + '\n'


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


def guarantee_rows(guarantee: dict[str, Any], version: str) -> list[tuple[str, str]]:
    """Returns (name, value) rows of a guarantee: a statement, or its `deployment`."""
    g = guarantee
    rows = [
        ('epsilon, user', f'{rounding.text(g["epsilon_user"])} (PLD)'),
        ('epsilon, user, by RDP', rounding.text(g['epsilon_user_rdp'])),
        ('epsilon, present or absent', rounding.text(g['epsilon_present_absent'])),
        (
            'epsilon, virtual client',
            f'{rounding.text(g["epsilon_virtual_client"])} ({VIRTUAL_CLIENT_NOTE})',
        ),
        ('delta', rounding.text(g['delta'])),
        ('accountant', version),
    ]
    if g['rho'] is not None:
        rows.insert(3, ('rho (zCDP), user', rounding.text(g['rho'], 6)))
    return rows


def _deployment_rows(s):
    deployment = s['deployment']
    rows = [
        ('users (N)', deployment['num_users']),
        ('virtual clients a round (m)', deployment['virtual_clients_per_round']),
        *guarantee_rows(deployment, s['accountant_version']),
    ]
    return [('the simulated deployment:', ''), *((f'  {name}', v) for name, v in rows)]
