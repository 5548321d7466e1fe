"""What tests of programs share: command lines of many in one process."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Runs each command line in a fork of one process that has loaded the package: exit
# code, what it printed, and the heavy modules that it ended up with.
DRIVER = """
import atexit, contextlib, io, json, os, runpy, sys
sys.path.insert(0, {bin!r})
import dp_fedemb.privacy, absl.app

def child(argv, script, pipe):
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = argv
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if script:
                exec(script, {{'__name__': '__main__'}})
            else:
                runpy.run_path(argv[0], run_name='__main__')
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):
        err.write(code)
        code = 1
    heavy = sorted({{name.split('.')[0] for name in sys.modules}}
                   & {{'tensorflow', 'tensorflow_federated', 'jax', 'keras'}})
    os.write(pipe, json.dumps([code or 0, out.getvalue(), err.getvalue(), heavy]).encode())

for line in sys.stdin:
    argv, script = json.loads(line)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(argv, script, write)
        # The words of an orderly end.
        atexit._run_exitfuncs()
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        print(json.dumps(json.loads(pipe.read())), flush=True)
    os.waitpid(pid, 0)
"""

# Runs each command line of a program in one process, because loading TensorFlow takes
# seconds: exit code, output, errors.
IN_TURN = """
import contextlib, importlib, io, json, sys
sys.path.insert(0, {bin!r})
main_module = importlib.import_module({name!r})
from flags import program

program.app.define_help_flags = lambda: None
values = main_module.FLAGS
for line in sys.stdin:
    sys.argv = [{name!r} + '.py', *json.loads(line)]
    values.unparse_flags()
    for flag in values:
        values[flag].unparse()
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            program.run(main_module.main, positional=sys.maxsize)
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


@pytest.fixture(scope='module')
def start_program():
    """Function from a program's name and a directory to a function that calls it there."""
    started = []

    def start(name, directory):
        process = subprocess.Popen(
            [sys.executable, '-c', IN_TURN.format(bin=str(ROOT / 'bin'), name=name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=directory,
        )
        started.append(process)

        def call(*arguments):
            process.stdin.write(json.dumps(arguments) + '\n')
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        return call

    yield start
    for process in started:
        process.stdin.close()
        process.wait(timeout=240)


@pytest.fixture(scope='session')
def privacy_process(tmp_path_factory):
    """Function from arguments to exit code, output, errors and heavy modules.

    With `script`, runs that instead of bin/privacy.py.
    """
    process = subprocess.Popen(
        [sys.executable, '-c', DRIVER.format(bin=str(ROOT / 'bin'))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path_factory.mktemp('privacy'),
    )

    def call(*arguments, script=None):
        argv = [str(ROOT / 'bin' / 'privacy.py'), *arguments]
        process.stdin.write(json.dumps([argv, script]) + '\n')
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield call
    process.stdin.close()
    process.wait(timeout=240)


# What a training program does with the flags: no default clip.
PLAN_OF_FLAGS = """
import json
from flags import plan_flags, program
from absl import flags
plan_flags.define()
def main(_):
    plan = plan_flags.plan(3400)
    print(json.dumps(plan.to_json() | {'epsilon': plan.epsilon()}))
program.run(main)
"""


@pytest.fixture(scope='session')
def plan_of_flags():
    """A program that prints the plan of its flags, with its epsilon."""
    return PLAN_OF_FLAGS


@pytest.fixture(scope='module')
def run(privacy_process):
    def call(*arguments):
        code, out, err, heavy = privacy_process(*arguments)
        assert code == 0, err
        assert heavy == []
        return out

    return call


@pytest.fixture(scope='module')
def refused(privacy_process):
    """Runs what must fail; returns the message, of one line."""

    def call(*arguments, script=None):
        code, out, err, _ = privacy_process(*arguments, script=script)
        assert code != 0 and out == ''
        assert err.startswith('error: ') and '\n' not in err.strip()
        return err

    return call


@pytest.fixture(scope='module')
def flags_plan(privacy_process):
    def call(*arguments):
        code, out, err, _ = privacy_process(*arguments, script=PLAN_OF_FLAGS)
        assert code == 0, err
        return json.loads(out)

    return call
