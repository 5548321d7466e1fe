"""Calls a binary with many command lines in one process, and stops it before real work.

Reads {"binary": NAME, "base": [...], "lines": [[...], ...]} from standard input and writes
answers as one JSON list, each with the whole line: first to lines that it makes of the flags'
definitions (see `flag_values`), then to those given. Real work begins where TensorFlow is
imported or a process is started: there it raises `Begun`.
"""

import contextlib
import io
import json
import os
import pathlib
import runpy
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'bin'))

import flag_values

from flags import program

BIN = pathlib.Path(__file__).resolve().parents[2] / 'bin'


class Begun(BaseException):
    """Checks are over: the program wants to work."""


class Guard:
    """An import hook at which real work begins."""

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('tensorflow', 'tensorflow_federated', 'keras', 'jax'):
            raise Begun(name)


def audit(event, _):
    if event == 'subprocess.Popen':
        raise Begun(event)


def load(name):
    """Defines a program's flags; returns its main and its number of positionals."""
    caught = []
    run = program.run
    program.run = lambda main, positional=0: caught.append((main, positional))
    try:
        sys.argv = [str(BIN / f'{name}.py')]
        runpy.run_path(sys.argv[0], run_name='__main__')
    finally:
        program.run = run
    return caught[0]


class Caller:
    """One program, called as from a shell."""

    def __init__(self, name, base):
        self.main, self.positional = load(name)
        self.base = base

    def whole(self, line):
        """Returns a line with what it is called with."""
        return [*flag_values.base_of(self.base, line), *line]

    def __call__(self, line):
        """Returns exit code (None where real work began), errors, CPU seconds, files left."""
        flags = program.flags.FLAGS
        flags.unparse_flags()
        for name in flags:
            flags[name].unparse()
        sys.argv = [sys.argv[0], *self.whole(line)]
        out, err, code = io.StringIO(), io.StringIO(), 0
        begin = time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                program.run(self.main, self.positional)
            except SystemExit as end:
                code = end.code or 0
            except Begun:
                code = None
            except BaseException:
                code, _ = 'trace', err.write(traceback.format_exc())
        left = sorted(os.listdir())
        return [code, err.getvalue(), time.process_time() - begin, left]


def main():
    sys.meta_path.insert(0, Guard())
    asked = json.load(sys.stdin)
    call = Caller(asked['binary'], asked['base'])
    # NumPy asks for the machine when it is imported.
    sys.addaudithook(audit)
    wrong = flag_values.lines(program.flags.FLAGS)
    lines = [(name, [line]) for name, line in wrong] + [(None, line) for line in asked['lines']]
    print(json.dumps([[name, call.whole(line), *call(line)] for name, line in lines]))


if __name__ == '__main__':
    main()
