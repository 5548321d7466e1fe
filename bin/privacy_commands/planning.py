"""bin/privacy.py plan: the mechanism and sampler of least noise at a target epsilon."""

import json

from absl import flags

from flags import plan_flags
from privacy_commands import arguments

from dp_fedemb import tables
from dp_fedemb.privacy import choice
from dp_fedemb.privacy import crossing

FLAGS = flags.FLAGS


def plan() -> None:
    """Shows all candidates, the best one first, and from where on noise is correlated."""
    arguments.target_epsilon('plan')
    arguments.refuse_given('plan', 'noise_multiplier', 'epsilon or extrapolate')
    found = plan_flags.candidates(arguments.num_users())
    search = crossing.Search(found)
    crossings = [search.find(), search.find(amplified_bands=False)]
    best = found[0].plan
    chosen = None if best is None else choice.options(best)
    if FLAGS.json:
        answer = {
            'command': 'plan',
            'target_epsilon': FLAGS.target_epsilon,
            'candidates': [_record(each) for each in found],
            'chosen': chosen,
            'crossing': _crossing_record(crossings[0]),
            'crossing_without_amplified_bands': _crossing_record(crossings[1]),
            'reason': choice.sentence(found),
        }
        print(json.dumps(answer))
        return
    rows = [('mechanism, sampler', 'z', 'noise in the model')]
    for each in found:
        if each.plan is not None:
            z = each.plan.mechanism.noise_multiplier
            rows.append((each.name, f'{z:.4g}', f'{each.model_noise:.4g}'))
    if len(rows) > 1:
        print(tables.text(rows, 'lrr', indent=2))
        print('  (root mean square over the rounds, over server rate x C)')
    for reason, names in _by_reason(found).items():
        print(f'  not accounted: {"; ".join(names)}: {reason}')
    print(f'\n{choice.sentence(found)}')
    for found_crossing, of in zip(crossings, ('', ' that is not amplified'), strict=True):
        if found_crossing is not None:
            print(_crossing_text(found_crossing, of))
    if chosen is not None:
        given = ' '.join(f'--{name}={value}' for name, value in chosen.items())
        print(f'With flags: {given}')


def _record(candidate):
    found = candidate.plan
    return {
        'name': candidate.name,
        'model_noise': None if found is None else candidate.model_noise,
        'noise_multiplier': None if found is None else found.mechanism.noise_multiplier,
        'epsilon_user': None if found is None else found.epsilon(),
        'options': None if found is None else choice.options(found),
        'reason': candidate.reason,
    }


def _crossing_record(found):
    return None if found is None else found._asdict()


def _crossing_text(found, of):
    if found.epsilon is None:
        kinds = ('independent', 'correlated')
        better, worse = reversed(kinds) if found.correlated_is_better else kinds
        return (
            f'From epsilon {crossing.LEAST:g} to {crossing.MOST:g}, {better} noise is always'
            f' below {worse} noise{of}.'
        )
    return (
        f'Below epsilon {found.epsilon:.3g} independent noise ({found.independent}) is lower,'
        f' above it correlated noise ({found.correlated}){of}.'
    )


def _by_reason(found):
    """Names of candidates without a plan, by why; what repeats the name is left out."""
    names = {}
    for each in found:
        if each.plan is None:
            start, colon, rest = each.reason.partition(': ')
            reason = rest if colon and ' with mechanism=' in start else each.reason
            names.setdefault(reason, []).append(each.name)
    return names
