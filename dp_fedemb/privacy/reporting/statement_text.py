"""A privacy statement as text for people."""

from typing import Any

from dp_fedemb import tables
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
    # Statements from before these were named were of runs that had none of them.
    if s.get('weak_seed'):
        return [
            'NOT PRIVATE: the secret seed was given by hand and has less than 64 bits. Whoever'
            ' tries them all finds it, and with it the noise.',
            f'With a seed of the operating system such a run would be {_guarantee_phrase(s)}.',
        ]
    if s['delta'] >= 1:
        return [
            'NOT PRIVATE: the noise that was drawn is too far from the one that is accounted'
            f' (statistical distance {s["statistical_distance"]:.3g}) for this epsilon.'
        ]
    unknown = [a['data'] for a in s.get('ancestors') or () if a['epsilon'] is None]
    if not s['private']:
        return [
            'NOT PRIVATE: the weights that this run started from have no epsilon for the users'
            f' that they have seen ({"; ".join(unknown) or "unit other than users"}).',
            f'The rounds of this run alone are {_guarantee_phrase(s)}.',
        ]
    lines = [f'The released model is {_guarantee_phrase(_total(s))}.']
    if s.get('ancestors'):
        lines.append(
            'This is the sum over the runs behind it, for a user who is in all of them:'
            f' {_parts(s)}.'
        )
    elif s.get('epsilon_present_absent') is not None:
        lines.append(
            f'For a user who is present or absent epsilon is'
            f' {rounding.text(s["epsilon_present_absent"])}: {s["present_absent_meaning"]}.'
        )
    if _total(s)['epsilon_user'] > WEAK_EPSILON:
        lines.append(f'An epsilon above {WEAK_EPSILON} gives little formal protection.')
    return lines


def _total(s: dict[str, Any]) -> dict[str, Any]:
    if not s.get('ancestors'):
        return s
    return {'epsilon_user': s['epsilon_user_total'], 'delta': s['delta_total']}


def _parts(s: dict[str, Any]) -> str:
    own = f'{rounding.text(s["epsilon_user"])} here'
    earlier = [f'{rounding.text(a["epsilon"])} ({a["data"]})' for a in s['ancestors']]
    return ', '.join([own, *earlier])


def _guarantee_phrase(guarantee: dict[str, Any]) -> str:
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
        ('algorithm', s['algorithm']),
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
        ('released once more', f'{s["repeated_releases"]} rounds, accounted'),
        ('mechanism', s['mechanism']),
        ('noise multiplier (z)', f'{s["noise_multiplier"]:.6g}'),
        ('clip norm (C)', clip),
        ('sensitivity', f'{s["sensitivity_over_clip"]:g} C{absolute}'),
        ('noise on the sum', f'{s["noise_stddev_on_sum"]:.6g} per coordinate'),
        ('statistical distance', _distance(s['statistical_distance'])),
    ]
    if s['noised_weights'] is not None:
        rows.append(('noised weights', s['noised_weights']))
    rows.append(('start', s['start']))
    # Statements from before tuning was stated do not have it.
    if s.get('tuning') is not None:
        rows.append(('settings were chosen', s['tuning']))
    if s.get('epsilon_user_of_one_trial') is not None:
        rows.append(('epsilon, one trial', rounding.text(s['epsilon_user_of_one_trial'])))
    rows += [('ancestor', _ancestor(a)) for a in s['ancestors']]
    if s['participation'] is not None:
        rows += _participation_rows(s['participation'])
    if s['epsilon_user'] is not None:
        rows += guarantee_rows(s, s['accountant_version'])
    if s['deployment'] is not None:
        rows += _deployment_rows(s)
    if s['verify'] is not None:
        rows.append(('verify with', s['verify']))
    lines.append(tables.text(rows, indent=2))
    for title, key in (
        ('Released', 'released'),
        ('To be kept secret', 'secrets'),
        ('Not covered', 'not_covered'),
        ('Caveats', 'caveats'),
    ):
        lines += ['', f'{title}:'] + [f'  - {item}' for item in s[key]]
    return '\n'.join(lines) + '\n'


def _distance(distance: float) -> str:
    if not distance:
        return 'none stated: delta is that of ideal noise'
    return f'{rounding.text(distance)} over all draws; (1 + e^epsilon) times that is in delta'


def _ancestor(ancestor: dict[str, Any]) -> str:
    if ancestor['epsilon'] is None:
        return f'{ancestor["data"]}: no epsilon'
    figures = rounding.text(ancestor['epsilon']), rounding.text(ancestor['delta'])
    return f'{ancestor["data"]}: epsilon {figures[0]}, delta {figures[1]}'


def _participation_rows(participation: dict[str, Any]) -> list[tuple[str, Any]]:
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
    accountant = 'RDP' if g.get('tuning_mode') == 'selection' else 'PLD'
    rows = [('epsilon, user', f'{rounding.text(g["epsilon_user"])} ({accountant})')]
    # Of several trials together only the headline's figures are known.
    if g['epsilon_user_rdp'] is not None:
        rows.append(('epsilon, user, by RDP', rounding.text(g['epsilon_user_rdp'])))
    rows.append(('epsilon, present or absent', rounding.text(g['epsilon_present_absent'])))
    if g['epsilon_virtual_client'] is not None:
        text = f'{rounding.text(g["epsilon_virtual_client"])} ({VIRTUAL_CLIENT_NOTE})'
        rows.append(('epsilon, virtual client', text))
    rows += [('delta', rounding.text(g['delta'])), ('accountant', version)]
    if g['rho'] is not None:
        rows.insert(3, ('rho (zCDP), user', rounding.text(g['rho'], 6)))
    return rows


def _deployment_rows(s: dict[str, Any]) -> list[tuple[str, Any]]:
    deployment = s['deployment']
    rows = [
        ('users (N)', deployment['num_users']),
        ('virtual clients a round (m)', deployment['virtual_clients_per_round']),
        *guarantee_rows(deployment, s['accountant_version']),
    ]
    return [('the simulated deployment:', ''), *((f'  {name}', v) for name, v in rows)]
