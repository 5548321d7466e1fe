#!/usr/bin/env python3
"""Looks every pinned dependency up among the known vulnerabilities; `make audit`.

pip-audit asks the package index for what is known of each version in lock.txt, from a
virtual environment that is thrown away afterwards. What it could not look up it leaves out
and calls the rest clean; here that is a failure, since nobody has looked. What is known and
accepted stands in accepted_vulnerabilities.txt, with the reason.

Exit code 0: looked up and nothing unknown; 1: something is known; 2: not looked up.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
LOCK = HERE / 'lock.txt'
ACCEPTED = HERE / 'accepted_vulnerabilities.txt'


def read_accepted(text):
    """Returns {identifier: reason} of lines `IDENTIFIER PACKAGE REASON ...`.

    Raises:
        ValueError: for a line without a package or a reason.
    """
    accepted = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        identifier, *rest = line.split(maxsplit=2)
        if len(rest) < 2:
            raise ValueError(f'line {number}: expected IDENTIFIER PACKAGE REASON, got {line!r}')
        accepted[identifier] = ' '.join(rest)
    return accepted


def judge(report, accepted):
    """Returns an exit code and lines for people.

    Args:
        report: of pip-audit, as JSON values.
        accepted: of `read_accepted`.
    """
    dependencies = report['dependencies']
    skipped = [each['name'] for each in dependencies if 'skip_reason' in each]
    lines, known, used = [], 0, set()
    for each in dependencies:
        for found in each.get('vulns', ()):
            names = {found['id'], *found.get('aliases', ())}
            fixed = ', '.join(found.get('fix_versions', ())) or 'no version'
            used |= names & accepted.keys()
            if names & accepted.keys():
                lines.append(
                    f'accepted: {found["id"]} ({accepted[min(names & accepted.keys())]})'
                )
            else:
                known += 1
                lines.append(
                    f'{each["name"]} {each["version"]}: {found["id"]}, fixed in {fixed}'
                )
    if not skipped:
        lines += [
            f'no longer known, remove it: {name}' for name in sorted(accepted.keys() - used)
        ]
    if not dependencies or skipped:
        looked = len(dependencies) - len(skipped)
        lines.append(
            f'NOT AUDITED: {looked} of {len(dependencies)} dependencies could be looked up'
            f' (not, for instance: {", ".join(skipped[:3]) or "any"}); run it where the JSON'
            ' of the package index can be reached'
        )
        return 1 if known else 2, lines
    lines.append(f'{len(dependencies)} dependencies looked up, {known} known vulnerabilities')
    return 1 if known else 0, lines


class NotAudited(Exception):
    """Nobody has looked."""


def ask():
    """Returns what pip-audit says of the lock.

    Raises:
        NotAudited: if it could not be installed, or says nothing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = f'{scratch}/bin/python'
        install = [python, '-m', 'pip', 'install', '--quiet', 'pip-audit']
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            raise NotAudited(f'pip-audit could not be installed: {done.stderr[-500:]}')
        command = ['-m', 'pip_audit', '-r', str(LOCK), '--no-deps', '--disable-pip']
        done = subprocess.run(
            [python, *command, '--format=json', '--progress-spinner=off'],
            capture_output=True,
            text=True,
        )
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise NotAudited(
            f'pip-audit ended with {done.returncode}: {done.stderr[-500:]}'
        ) from None


def main():
    try:
        code, lines = judge(ask(), read_accepted(ACCEPTED.read_text()))
    except (NotAudited, ValueError) as error:
        code, lines = 2, [f'NOT AUDITED: {" ".join(str(error).split())}']
    print('\n'.join(lines))
    return code


if __name__ == '__main__':
    sys.exit(main())
