"""The words of a command line, with those of its files of flags in their place."""

from collections.abc import Iterator, Sequence
import os

from absl import flags

from dp_fedemb import pathnames
from dp_fedemb import validate

# No file of flags is larger, and one without an end is not read for ever.
_MOST_CHARACTERS = 1 << 20
# Of twenty of which each names the next one twice there would be a million.
_MOST_FILES = 100
# A flag whose value no message shows.
SECRET = 'seed'
_NUMBERS = (flags.IntegerParser, flags.FloatParser)
# A flag that is given several times, each time for an option of its own.
_OPTIONS = 'task_option'


class CommandLine:
    """A command line as absl shall read it, which then finds no file of flags in it.

    Attributes:
        words: without the program's name.
        replaced: a sentence for every value that a later one replaces. What a line says after
            a file of flags is meant to change what the file says, and is not among them.
    """

    def __init__(self, words: Sequence[str]) -> None:
        """Reads the files of flags.

        Raises:
            ValueError: for one that is not there, is no text, does not end or contains itself,
                or has a line that is no flag.
        """
        self.words: list[str] = []
        self.replaced: list[str] = []
        self._files = 0
        # Flag -> its last value, and the files that it is in, from the outermost.
        self._last: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._take(iter(words), ())

    def _take(self, words: Iterator[str], inside: tuple[str, ...]) -> None:
        for word in words:
            if word == '--':
                self.words += [word, *words]
            elif not word.startswith('-') or word == '-':
                self.words.append(word)
            else:
                self._take_flag(word, words, inside)

    def _take_flag(self, word: str, words: Iterator[str], inside: tuple[str, ...]) -> None:
        name, equals, value = word[2 if word.startswith('--') else 1 :].partition('=')
        flag = None
        if name in flags.FLAGS:
            flag = flags.FLAGS[name]
        if not equals and (name == 'flagfile' or (flag is not None and not flag.boolean)):
            following = next(words, None)
            if following is not None:
                equals, value = '=', following
                word = f'{word}={value}'
        if name == 'flagfile':
            self._take_file(value, inside)
            return
        if flag is not None and isinstance(flag.parser, _NUMBERS) and equals:
            try:
                validate.read_number(value, str)
            except ValueError as error:
                hidden = 'a number that is not in plain digits'
                raise ValueError(f'{name}: {hidden if name == SECRET else error}') from None
        self.words.append(word)
        if flag is None and name.startswith('no') and name[2:] in flags.FLAGS:
            self._note(name[2:], 'false', inside)
        elif flag is not None and name == _OPTIONS:
            option, _, value = value.partition('=')
            self._note(f'{name}={option}', value, inside)
        elif flag is not None and not isinstance(flag, flags.MultiFlag):
            self._note(name, value if equals else 'true', inside)

    def _take_file(self, name: str, inside: tuple[str, ...]) -> None:
        """Takes the lines of a file in its place.

        What a shell passes on for one, as in --flagfile=<(...), is read only once.
        """
        self._files += 1
        if self._files > _MOST_FILES:
            raise ValueError(
                f'flagfile={name!r}: is read after {_MOST_FILES} others, which name each other;'
                ' put the flags into one'
            )
        path = pathnames.local(name, 'flagfile')
        passed_on = path.startswith('/dev/fd/')
        # Those by which the kernel speaks seem to be empty, and some wait for what it says.
        if not passed_on and not (os.path.isfile(path) and os.path.getsize(path)):
            raise ValueError(f'flagfile={name!r}: no such file, or none with anything to read')
        if os.path.realpath(path) in map(os.path.realpath, inside):
            raise ValueError(f'flagfile={name!r}: contains itself; leave it out of itself')
        try:
            with open(path, encoding='utf-8-sig') as file:
                text = file.read(_MOST_CHARACTERS + 1)
        except UnicodeDecodeError as error:
            raise ValueError(f'flagfile={name!r}: no text in UTF-8 ({error})') from None
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(
                f'flagfile={name!r}: more than {_MOST_CHARACTERS:,} characters; expected a'
                ' line --NAME=VALUE for each flag'
            )
        lines = [line.strip() for line in text.split('\n')]
        for number, line in enumerate(lines, start=1):
            if line == '--' or (line and not line.startswith(('-', '#', '//'))):
                raise ValueError(
                    f'flagfile={name!r}: line {number} is {line[:60]!r}; expected --NAME=VALUE'
                )
        given = [line for line in lines if line.startswith('-')]
        self._take(iter(given), (*inside, path))

    def _note(self, name: str, value: str, inside: tuple[str, ...]) -> None:
        """Keeps the value of a flag, and tells of the one that it replaces."""
        before, place = self._last.get(name, (value, inside))
        meant = len(inside) < len(place) and place[: len(inside)] == inside
        if before != value and not meant:
            where = f' (in {inside[-1]})' if inside else ''
            values = '' if name == SECRET else f': {value!r}{where} replaces {before!r}'
            self.replaced.append(f'{name} is given twice{values}; the last one counts')
        self._last[name] = value, inside
