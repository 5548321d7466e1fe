"""What every binary starts with: its flags parsed, errors in one line."""

from collections.abc import Callable
import io
import os
import pathlib
import re
import sys
import warnings

from absl import app
from absl import flags
from absl import logging

from flags import command_line
from flags import from_settings
from flags import host
from flags import paths

from dp_fedemb import last_words
from dp_fedemb import pathnames
from dp_fedemb import tables
from dp_fedemb.runs import signals

# TensorFlow logs GPUs that it does not find as errors; what matters it raises.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# What the library raises for input that a user can mend.
_USER_ERRORS = (ValueError, OSError, OverflowError, app.UsageError)
# The exit codes for it, and for a machine that fails, which tells whoever started the program
# that the same command may go on later.
_BAD_INPUT, _BAD_HOST = 2, os.EX_TEMPFAIL

flags.DEFINE_bool(
    'debug',
    False,
    'Show the whole trace of an error, which is one line otherwise. The exit code is 2 for'
    f' input that you can mend, {_BAD_HOST} where the machine failed and the same command goes'
    ' on later, and 1 for all else. Where a signal ends the program, the line says what that'
    ' mostly means, and the trace is the stack of Python.',
)

# Program -> how it goes on after an end in its middle; others begin anew.
_GOES_ON = {
    'train': ' to go on from the last checkpoint',
    **dict.fromkeys(('sweep', 'reproduce'), ' to go on with what is left'),
}


def run(main: Callable[[list[str]], None], positional: int = 0) -> None:
    """Runs `main(arguments)` with parsed flags; exits with 2 and one line on bad input.

    Where the machine fails (a full disk, no memory, a directory that is moved away) it is one
    line and the code EX_TEMPFAIL of sysexits.h, 75.

    All flags are checked before `main` is called, so before it has written anything or
    imported TensorFlow. From there on the first SIGINT, SIGTERM or SIGHUP is an orderly end in
    one line, and `last_words` says what any other signal has ended.

    Args:
        main: gets the positional arguments, without the program's name.
        positional: how many of them are allowed.
    """
    sys.excepthook = sys.__excepthook__
    _open_streams()
    then = 'run the same command again' + _GOES_ON.get(pathlib.Path(sys.argv[0]).stem, '')
    # Not `app.run`: TensorFlow, imported after it, counts devices at once, before it has
    # turned on TF 2 behaviour, and Keras then builds graphs of TF 1.
    _show_in_help(*(name for name in sys.modules if name.startswith('flags.')))
    app.define_help_flags()
    try:
        with signals.end_cleanly():
            arguments = _parse(sys.argv, positional)
            _check_interpreter()
            logging.use_absl_handler()
            last_words.listen(then, flags.FLAGS.debug)
            main(arguments)
    except signals.Stopped as stopped:
        _end(f'{stopped}; {then}', stopped.code)
    except Exception as error:
        trouble = host.trouble(error)
        known = trouble is not None or isinstance(error, _USER_ERRORS)
        if not known or (flags.FLAGS.is_parsed() and flags.FLAGS.debug):
            raise
        text = trouble or paths.trouble(error) or str(error) or type(error).__name__
        _end(text, _BAD_INPUT if trouble is None else _BAD_HOST)


def _open_streams() -> None:
    """Lets closed standard streams lead nowhere, before a file of ours gets their numbers."""
    for number, name in enumerate(('stdin', 'stdout', 'stderr')):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, 'w' if number else 'r', closefd=False))
    # A character that an encoding lacks, in a name, is no reason to lose a result.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == 'strict':
        sys.stdout.reconfigure(errors='backslashreplace')


def _check_interpreter() -> None:
    """Refuses, or takes back, what TensorFlow cannot be imported with."""
    if sys.flags.optimize > 1:
        raise ValueError(
            'PYTHONOPTIMIZE=2, or python -OO, takes docstrings away, without which TensorFlow'
            ' is not imported; leave it out'
        )
    # Those of the command line and of PYTHONWARNINGS.
    if any(option.startswith('e') for option in sys.warnoptions):
        warnings.resetwarnings()
        print(
            'note: warnings are not errors here, as PYTHONWARNINGS or python -W would have it:'
            ' TensorFlow warns while it is imported',
            file=sys.stderr,
        )


def _end(text: str, code: int) -> None:
    """Ends the program with one line of standard error, where that takes it."""
    try:
        print(
            tables.on_one_line(f'error: {" ".join(text.split())}'), file=sys.stderr, flush=True
        )
    except OSError:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), 'w')
    if code == _BAD_HOST:
        last_words.end_with(code)
    sys.exit(code)


def _parse(line: list[str], positional: int) -> list[str]:
    """Returns the positional arguments of a command line whose flags are in order.

    Raises:
        ValueError: for the first that is not.
    """
    read = command_line.CommandLine(line[1:])
    try:
        arguments = flags.FLAGS([line[0], *read.words])[1:]
    except flags.Error as error:
        raise ValueError(_in_our_words(str(error))) from None
    if arguments[positional:]:
        unexpected = repr(arguments[positional])
        # What was meant for it, as in `--seed= 17`.
        if any(word.lstrip('-').startswith(command_line.SECRET) for word in line[1:]):
            unexpected = 'argument, not shown since it may be the seed'
        raise ValueError(f'unexpected argument {unexpected}; flags start with --')
    if not all(each.strip() for each in arguments):
        raise ValueError('an argument is empty; give it a value, or leave it out')
    from_settings.check()
    for sentence in read.replaced:
        print(f'note: {sentence}', file=sys.stderr)
    return [
        pathnames.local(each, 'argument') if each.startswith('~') else each
        for each in arguments
    ]


def _in_our_words(text: str) -> str:
    """What absl says of a value, as this program says it elsewhere."""
    found = re.match(r'flag --(\w+)=(.*?): ', text, re.DOTALL)
    if found is None or found[1] not in flags.FLAGS:
        return text
    name, value = found.groups()
    if value == 'None':
        return f'{name} is not given: set --{name}'
    flag = flags.FLAGS[name]
    if flag.boolean:
        expected = 'true or false'
    elif isinstance(flag.parser, flags.EnumParser):
        expected = f'one of {", ".join(flag.parser.enum_values)}'
    else:
        expected = flag.parser.syntactic_help
    shown = name if name == command_line.SECRET else f'{name}={value!r}'
    return f'{shown}: expected {expected}' if expected else text


def _show_in_help(*modules: str) -> None:
    """Lets --help list the flags that shared modules defined for this program."""
    of_module = flags.FLAGS.flags_by_module_dict()
    for module in modules:
        for flag in of_module.get(module, ()):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
