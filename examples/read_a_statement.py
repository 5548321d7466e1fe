"""Reading a privacy statement with a program, and computing its epsilon again.

    python examples/read_a_statement.py RUN/privacy.json

Needs neither TensorFlow nor TFF. Without an argument it makes a statement to read.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from dp_fedemb import privacy

ROOT = pathlib.Path(__file__).resolve().parent.parent


def make_statement(directory: pathlib.Path) -> pathlib.Path:
    """Writes the statement that a run of such a plan would write."""
    plan = privacy.PrivacyPlan(
        num_users=40_000,
        virtual_clients_per_round=400,
        users_per_virtual_client=2,
        rounds=100,
        mechanism=privacy.Gaussian(clip_norm=0.1, noise_multiplier=1.1),
    )
    path = directory / 'privacy.json'
    path.write_text(json.dumps(privacy.statement(plan)))
    return path


def main() -> None:
    """Prints what a reader should look at first, and checks the figure."""
    with tempfile.TemporaryDirectory() as scratch:
        given = sys.argv[1:]
        path = pathlib.Path(given[0]) if given else make_statement(pathlib.Path(scratch))
        statement = json.loads(path.read_text())
    for line in privacy.statement_headline(statement):
        print(line)
    print(f'unit: {statement["unit"]}')
    print(f'neighbouring data sets {statement["neighboring_relation_text"]}')
    for item in statement['not_covered']:
        print(f'not covered: {item}')
    if statement['verify'] is None:
        return
    command = [sys.executable, *statement['verify'].split(), '--json']
    again = json.loads(subprocess.check_output(command, cwd=ROOT, text=True))
    print(f'computed again: epsilon = {again["epsilon_user"]}')
    if abs(again['epsilon_user'] - statement['epsilon_user']) > 1e-6:
        sys.exit('the statement does not agree with its own plan')


if __name__ == '__main__':
    main()
