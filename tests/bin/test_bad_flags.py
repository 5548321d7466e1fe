"""Whatever is given to a flag: one line, exit code 2, at once, and nothing written."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
_TASK = [
    '--task_option=num_users=12',
    '--task_option=test_identities=4',
    '--task_option=public_identities=4',
    '--task_option=image_size=8',
]
_RUN = ['--output_dir=run', '--virtual_clients_per_round=2', '--users_per_virtual_client=2']
_PRIVATE = ['--clip_norm=1', '--noise_multiplier=1']

# Program -> what it is called with beside the flag in question. The data are drawn before,
# in a directory of their own.
BASE = {
    'train': [*_TASK, *_RUN],
    'pretrain': [*_TASK, '--output_dir=run'],
    'evaluate': [*_TASK, '--model=/'],
    'embed': [*_TASK, '--model=/', '--output=embeddings.npz'],
    'prepare': _TASK,
    'audit': ['noise', '--num_users=3400', *_PRIVATE],
    'export': ['--model=/', '--output_dir=export'],
    'reproduce': ['--table=all', '--output_dir=tables'],
    'privacy': ['epsilon', '--num_users=3400', '--noise_multiplier=1'],
    'sweep': ['--mode=public', '--output_dir=sweep', '--vary=client_lr=0.1,1'],
    'worker': [],
    'benchmark': [],
}

# What is right in each part and wrong together, or wrong for the place it is in.
LINES = {
    'train': [
        ['--noise_multiplier=1'],
        ['--clip_norm=inf', '--noise_multiplier=1'],
        ['--target_epsilon=2'],
        [*_PRIVATE, '--target_epsilon=2'],
        ['--clip_norm=1', '--target_epsilon=2', '--mechanism=clip_only'],
        ['--mechanism=nope'],
        ['--sampling=nope', *_PRIVATE],
        ['--mechanism=gaussian'],
        ['--mechanism=none', '--clip_norm=1'],
        ['--bands=3', *_PRIVATE],
        ['--mechanism=blt', '--draws=3', *_PRIVATE],
        ['--mechanism=tree', '--tree_completion', *_PRIVATE],
        ['--min_separation=3', *_PRIVATE],
        ['--label_buckets=10'],
        ['--engine=in_process', '--workers=localhost:8470'],
        ['--pretrained_partial'],
        ['--pretrained_is_public'],
        ['--pretrain_augmentation=glyph:rotation=inf'],
        ['--pretrain_augmentation=glyph:rotation=much'],
        ['--pretrain_augmentation=nope'],
        ['--task=nope'],
        ['--task_option=nope=1'],
        ['--task_option=num_users'],
        ['--task_option=num_users=nan'],
        ['--task_option=num_users=-1'],
        ['--task_option=image_size=1000000000000'],
        ['--task_option=style=handwriting:noise=nan'],
        ['--task_option=style=handwriting:noise=inf'],
        ['--task=image_folder'],
        ['--task=image_folder', '--data_dir=/nowhere'],
        ['--task=image_folder', '--data_dir=/dev/null'],
        ['--output_dir=/dev/null'],
        ['--output_dir=/dev/null/run'],
        ['--output_dir=/proc/run'],
        ['--output_dir=' + 300 * 'x'],
        ['--cache_dir=/dev/null'],
        ['--cache_dir=/dev/null/cache'],
        ['--flagfile=/nowhere'],
        ['--flagfile=/'],
        ['surplus'],
        ['--', '--rounds=3'],
        ['--no'],
        ['-'],
        ['--=3'],
        ['--virtual_clients_per_round=0x10', '--virtual_clients_per_round=-3'],
    ],
    'pretrain': [
        ['--pretrained_partial'],
        ['--output_dir=/dev/null'],
        ['--augmentation=glyph:fill=nope'],
        ['--part=test'],
        ['--task_option=public_identities=-1'],
    ],
    'evaluate': [
        ['--model=/nowhere'],
        ['--model=/dev/null'],
        ['--fars=1e-3,nan'],
        ['--fars=1e-3,,'],
        ['--fars=0'],
        ['--fars=inf'],
        ['--metrics=nope'],
        ['--plots'],
        ['--show_images'],
        ['--output_dir=/dev/null', '--plots'],
        ['--part=nope'],
    ],
    'embed': [
        ['--output=embeddings'],
        ['--output=/'],
        ['--output=/dev/null/embeddings.npz'],
        ['--model=/nowhere'],
        ['--fit=pad'],
        ['--max_broken=3'],
        ['--input=/', '--fit=PAD'],
    ],
    'prepare': [['--task=nope'], ['--task=lfw'], ['--cache_dir=/dev/null']],
    'privacy': [
        ['--noise_multiplier=1e-300'],
        ['--noise_multiplier=1e6', '--delta=1e-320'],
        ['--delta=1'],
        ['--num_users=3'],
        ['--target_epsilon=3'],
        ['--noised_weights=-3'],
        ['more'],
    ],
    'sweep': [
        ['--mode=nope'],
        ['--grid=/nowhere'],
        ['--total_epsilon=3'],
        ['--vary=output_dir=a,b'],
        ['--vary=client_lr'],
        ['--output_dir=/dev/null'],
        ['more'],
        ['--', '--output_dir=run'],
    ],
    'audit': [
        ['nope'],
        ['--canary_kind=nope'],
        ['--output_dir=/dev/null'],
        ['--audited_rounds=many'],
        ['--epsilons=nan'],
    ],
    'export': [
        ['--model=/nowhere'],
        ['--output_dir=/dev/null'],
        ['--fars=nan'],
    ],
    'reproduce': [['--table=nope'], ['--grid=/nowhere'], ['--output_dir=/dev/null']],
    'worker': [['--cores=100000'], ['more']],
    'benchmark': [['--only=nope'], ['--only=throughput,nope'], ['more']],
}


@pytest.fixture(scope='module')
def answers(tmp_path_factory):
    """Program -> [flag or None, arguments, code, errors, seconds, files left]."""
    cache = tmp_path_factory.mktemp('cache')
    prepare = [sys.executable, ROOT / 'bin/prepare.py', *_TASK, f'--cache_dir={cache}']
    subprocess.run(prepare, capture_output=True, check=True)
    processes = {}
    for name, base in BASE.items():
        if _TASK[0] in base:
            base = [*base, f'--cache_dir={cache}']
        processes[name] = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).parent / 'flag_driver.py'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path_factory.mktemp(name),
        )
        asked = {'binary': name, 'base': base, 'lines': LINES[name]}
        processes[name].stdin.write(json.dumps(asked))
        processes[name].stdin.close()
        processes[name].stdin = None
    found = {}
    for name, process in processes.items():
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err[-2000:]
        found[name] = json.loads(out)
    return found


def test_every_program_is_here():
    assert sorted(BASE) == sorted(path.stem for path in (ROOT / 'bin').glob('*.py'))


@pytest.mark.parametrize('name', sorted(BASE))
def test_one_line_and_code_2(answers, name):
    wrong = [
        (line, code, err[-300:])
        for flag, line, code, err, _, _ in answers[name]
        if code != 2
        or not err.startswith('error: ')
        or len(err.strip().splitlines()) != 1
        or (flag is not None and flag not in err)
    ]
    assert not wrong and len(answers[name]) > 20


@pytest.mark.parametrize('name', sorted(BASE))
def test_at_once_and_nothing_written(answers, name):
    assert not [
        (line, seconds, left)
        for _, line, _, _, seconds, left in answers[name]
        if seconds > 5 or left
    ]


def test_thousands_of_lines_are_tried(answers):
    assert sum(len(each) for each in answers.values()) > 3000
