"""The statement of a run that was one of several trials on the same users."""

from collections.abc import Mapping
from typing import Any, Optional

from dp_fedemb.privacy import rounding
from dp_fedemb.privacy import selection
from dp_fedemb.privacy.reporting import ancestors as ancestors_lib

MODES = {
    'public': 'on users who are public or drawn, which costs nothing',
    'composed': 'by trials that are all released, and all in this epsilon',
    'selection': 'by private selection, which is in this epsilon: the best of a secret random'
    ' number of trials, and nothing else, is released',
}
VERIFY = 'bin/privacy.py tuned DIRECTORY, the one of this file'
# What no longer holds of `statement.NOT_COVERED`, and what does in its place.
CHOICE = 'choice of hyper-parameters'
_LATER = (
    'choices by looking at the released models again, on users they were trained on',
    'how long the trials took together, which tells how many there were',
)


def statement(
    of_trial: Mapping[str, Any],
    mode: str,
    *,
    epsilons: Mapping[str, float],
    delta: float,
    trials: float,
    details: str,
    distribution: Optional[str] = None,
    commands: Mapping[str, int],
) -> dict[str, Any]:
    """Returns the statement of a trial with what all trials cost in it.

    Args:
        of_trial: `privacy.json` of the run, which knows nothing of the others.
        mode: `composed` or `selection`.
        epsilons: `epsilon_user` and `epsilon_present_absent` of all trials together.
        delta: of these.
        trials: their number, or for a selection its mean.
        details: of the trials, in words: how many or from which distribution.
        distribution: of their number; None where all are released.
        commands: that account one trial (`recomputation.command`), and of how many
            settings: all that a trial may draw, or those of the trials themselves.
    """
    found = dict(of_trial)
    found['tuning'] = f'{MODES[mode]} ({details})'
    found['tuning_mode'] = mode
    found['epsilon_user_of_one_trial'] = of_trial['epsilon_user']
    found['not_covered'] = [
        *(line for line in of_trial['not_covered'] if not line.startswith(CHOICE)),
        *_LATER,
    ]
    # What the total follows from, for the command that computes it again.
    found['trials'] = {
        'number': trials,
        'distribution': distribution,
        'commands': dict(commands),
        'released': of_trial['verify'],
    }
    found['verify'] = VERIFY
    for name in ('epsilon_user_rdp', 'epsilon_present_absent_rdp', 'rho'):
        found[name] = None
    found['epsilon_virtual_client'] = None
    found['accountant'] = 'rdp' if mode == 'selection' else 'pld'
    own = of_trial['private_by_itself']
    grown = selection.released_delta(
        delta, epsilons['epsilon_user'], trials, of_trial['statistical_distance']
    )
    own = own and grown is not None
    found['private_by_itself'] = own
    found |= {name: rounding.rounded_up(value) for name, value in epsilons.items()}
    total: Optional[tuple[float, float]] = None
    found['delta'] = 1.0 if grown is None else grown
    if own and grown is not None:
        ancestors = [ancestors_lib.Ancestor(**each) for each in of_trial['ancestors']]
        total = ancestors_lib.added(found['epsilon_user'], grown, ancestors)
    found['private'] = total is not None
    found['epsilon_user_total'] = total and rounding.rounded_up(total[0])
    found['delta_total'] = total and total[1]
    return found
