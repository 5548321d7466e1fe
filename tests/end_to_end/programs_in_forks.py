"""Runs programs of bin/ one after the other, each in a fork that imports nothing anew.

    programs_in_forks.py LOG < COMMANDS

COMMANDS are a JSON list of [program, [argument, ...]]; all of their output goes to LOG. With
a umask of 0, so that only what a program does itself keeps a file from others. Prints the
exit codes as a JSON list.
"""

import json
import os
import pathlib
import sys
import time

import lives


def main(log):
    os.umask(0)
    codes = []
    for program, arguments in json.loads(sys.stdin.read()):
        pid = lives.start(program, arguments, log)
        codes.append(lives.ended(pid, time.monotonic() + lives.DEADLINE_S))
    print(json.dumps(codes))


if __name__ == '__main__':
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    # Loaded, and never used here.
    import dp_fedemb.evaluation.collection
    import dp_fedemb.evaluation.report
    import dp_fedemb.export
    import dp_fedemb.gallery
    import dp_fedemb.runs.experiment  # noqa: F401

    main(pathlib.Path(sys.argv[1]))
