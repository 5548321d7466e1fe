"""Whatever is given to a flag: one line, exit code 2, at once, and nothing written."""

from concurrent import futures
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# A table that no program here may take for its own.
_TABLE = ROOT / 'docs/results/loss/table.csv'
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

# Refused wherever a model is built.
_NAMES_OF_MODELS = [
    ['--backbone=nope'],
    ['--head=nope'],
    ['--head_scale=3'],
    ['--head=normalized', '--head_margin=0.1'],
    ['--head=arcface', '--head_margin=1.9'],
    ['--precision=float16'],
]
# What is right in each part and wrong together, or wrong for the place it is in.
LINES = {
    'train': [
        ['--server_adam_floor=0.1'],
        ['--workers=nope'],
        ['--workers=a:1,a:1'],
        ['--workers=a:99999'],
        ['--workers=:1'],
        ['--workers=unix:relative'],
        ['--require_private'],
        ['--require_private', '--clip_norm=1'],
        ['--budget_epsilon=3'],
        ['--trial_of_selection'],
        ['--clip_norm=1', '--target_epsilon=5', '--budget_epsilon=3'],
        ['--pretrained=/nowhere'],
        ['--pretrained=/dev/null'],
        ['--output_dir=/etc'],
        ['--output_dir=/'],
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
        ['--output_dir=here', '--cache_dir=here/cache'],
        ['--output_dir=' + 240 * 'x'],
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
        ['--data_dir=/dev/null'],
        ['--data_dir=/nowhere'],
        ['--data_dir=/tmp'],
        ['--norequire_private=3'],
        ['--rounds=1_000'],
        ['--rounds=\u0663'],
        ['--task_option=num_users=1_2'],
        ['--task_option=style=print:noise=0.1,noise=0.2'],
        ['--client_momentum=0.99999999'],
        ['--ema=0.99999999'],
        ['--algorithm=fedavg', '--label_buckets=1'],
        ['--pretrain_temperature=1e-30'],
        ['--output_dir', '--rounds=3'],
        ['--flagfile=/dev/zero'],
        ['--flagfile', '/dev/urandom'],
        ['--head=supcon', '--batch_size=1'],
        *_NAMES_OF_MODELS,
        ['--task=image_folder', '--data_dir=.', '--task_option=default_backbone=nope'],
        ['--task=stores', '--data_dir=.', '--task_option=default_backbone=nope'],
    ],
    'pretrain': [
        *_NAMES_OF_MODELS,
        ['--output_dir=/etc'],
        ['--pretrained=/nowhere'],
        ['--pretrained=/tmp'],
        ['--pretrained=public'],
        ['--pretrained_partial'],
        ['--output_dir=/dev/null'],
        ['--augmentation=glyph:fill=nope'],
        ['--part=test'],
        ['--task_option=public_identities=-1'],
    ],
    'evaluate': [
        ['--groups=/nowhere'],
        ['--pairs_files=/nowhere'],
        ['--pairs_files=/dev/null,/nowhere'],
        ['--model=/nowhere'],
        ['--model=/dev/null'],
        ['--fars=1e-3,nan'],
        ['--fars=1e-3,,'],
        ['--fars=0'],
        ['--fars=inf'],
        ['--fars=1e-300'],
        ['--groups=/dev/zero'],
        ['--groups=/tmp'],
        ['--pairs_files=/dev/zero'],
        ['--pairs_files=/tmp'],
        ['--metrics=nope'],
        ['--model=/tmp'],
        ['--compare', '/tmp', '/tmp'],
        ['--plots'],
        ['--show_images'],
        ['--output_dir=/dev/null', '--plots'],
        ['--part=nope'],
    ],
    'embed': [
        ['index', '/nowhere'],
        ['index', '/tmp', '--index=/tmp'],
        ['index', '/tmp', '--index=a', '--far=1e-3'],
        ['search', '/dev/null', '--index=/nowhere'],
        ['search', '/nowhere', '--index=/dev/null'],
        ['verify', '/nowhere', '/nowhere', '--far=1e-3'],
        ['cluster', '/nowhere', '--far=1e-3'],
        ['--input=/tmp', '--task=synthetic'],
        ['--part=nope'],
        ['--input=/nowhere'],
        ['--format=html'],
        ['--threshold=0.3'],
        ['--evaluation=/nowhere'],
        ['--index=a'],
        ['--output=embeddings'],
        ['--output=/'],
        ['--output=/dev/null/embeddings.npz'],
        ['--model=/nowhere'],
        ['--fit=pad'],
        ['--max_broken=3'],
        ['--input=/', '--fit=PAD'],
        ['index', '/tmp', '--index=/dev/null'],
        ['index', '~nobody-of-that-name', '--index=a'],
        ['search', f'{ROOT}/setup.py', '--index=/dev/zero'],
        [
            'search',
            f'{ROOT}/setup.py',
            f'--index={__file__}',
            '--format=html',
            '--output=a.png',
        ],
        ['cluster', '/tmp', '--threshold=0.5', '--output=/dev/full'],
        ['cluster', '/tmp', '--threshold=0.5', f'--output={_TABLE}'],
    ],
    'prepare': [['--task=nope'], ['--task=lfw'], ['--cache_dir=/dev/null']],
    'privacy': [
        ['--populations=3'],
        ['--solve_for=rounds'],
        ['--output=x.png'],
        ['--runs=.'],
        ['--noise_multiplier=1e-300'],
        ['--noise_multiplier=1e6', '--delta=1e-320'],
        ['--delta=1'],
        ['--num_users=3'],
        ['--target_epsilon=3'],
        ['--noised_weights=-3'],
        ['utility', '--target_epsilon=3', '--curve=/dev/zero'],
        ['utility', '--target_epsilon=3', f'--curve={__file__}'],
        ['utility', '--target_epsilon=3', '--runs=/dev/null'],
        ['ledger', '/dev/zero'],
        ['ledger', '/'],
        ['tuned', '/dev/zero'],
        ['tuned', __file__],
        ['extrapolate', '--noise_multiplier=1', '--output=/dev/full'],
        ['extrapolate', '--noise_multiplier=1', '--populations=1,,2'],
        ['more'],
        ['--signal_to_noise=3'],
        ['extrapolate', '--noise_multiplier=1', '--noised_weights=3'],
        ['ledger', '.', '--rounds=3'],
        ['tuned', '.', '--num_users=3'],
    ],
    'sweep': [
        ['--mean_trials=3'],
        ['--distribution=poisson'],
        ['--mode=composed', '--users_are_public'],
        ['--search_seed=3'],
        ['--mode=nope'],
        ['--grid=/nowhere'],
        ['--total_epsilon=3'],
        ['--grid=/dev/zero'],
        ['--random_trials=1000'],
        [
            f'--vary={name}=' + ','.join(map(str, range(1, 200)))
            for name in ('a', 'b', 'c', 'd')
        ],
        [f'--grid={__file__}', '--vary='],
        ['--vary=output_dir=a,b'],
        ['--', '--client_lr=3'],
        ['--vary=profile=true,false', '--', '--noprofile'],
        ['--vary=client_lr'],
        ['--output_dir=/dev/null'],
        ['more'],
        ['--', '--output_dir=run'],
    ],
    'audit': [
        ['--epsilons=1'],
        ['--canaries=100'],
        ['--backbone=lenet'],
        ['--client_lr=0.1'],
        ['--cache_dir=.'],
        ['--data_seed=3'],
        ['--server_momentum=0.9'],
        ['--accept_ops=ReadFile'],
        ['noise', '--model=/', '--rounds=3'],
        ['noise', '--model=/', '--accept_ops=ReadFile'],
        ['membership', '--model=/', '--head=cosface'],
        ['membership', '--model=/', '--confidence=0.9'],
        ['membership', '--epsilons=3', '--noise_multiplier=1'],
        ['membership', '--epsilons=3', '--sampling=poisson'],
        ['rounds', '--noise_multiplier=1', '--accept_ops=ReadFile'],
        ['rounds', '--noise_multiplier=1', '--data_dir=.'],
        ['rounds', '--noise_multiplier=1', '--pretrained=/nowhere'],
        ['rounds', '--noise_multiplier=1', '--pretrained_partial'],
        ['canaries', '--noise_multiplier=1', '--pretrained=public'],
        ['rounds', '--noise_multiplier=1', '--backbone=nope'],
        ['canaries', '--noise_multiplier=1', '--head=nope'],
        ['membership', '--epsilons=3', '--precision=float16'],
        ['--task=synthetic'],
        ['nope'],
        ['--canary_kind=nope'],
        ['--output_dir=/dev/null'],
        ['--audited_rounds=many'],
        ['--epsilons=nan'],
    ],
    'export': [
        ['--formats=nope'],
        ['--part=train'],
        ['--formats=onnx,nope'],
        ['--formats='],
        ['--public_pictures=/nowhere'],
        ['--public_pictures=/tmp', '--formats=onnx'],
        ['--data_seed=3'],
        ['--task_option=num_users=3'],
        ['--evaluation=/nowhere'],
        ['--part=public'],
        ['--model=/nowhere'],
        ['--output_dir=/dev/null'],
        ['--fars=nan'],
    ],
    'reproduce': [
        ['--table=nope'],
        ['--grid=/nowhere'],
        ['--grid=/dev/zero'],
        [f'--grid={__file__}'],
        ['--output_dir=/dev/null'],
        # There a folder is named as the table is.
        ['--table=pretraining', '--task=synthetic', f'--publish={ROOT}/dp_fedemb'],
        ['--table=loss', '--task=synthetic', '--publish=/dev/full'],
    ],
    'worker': [
        ['--port=1', '--socket=/tmp/x'],
        ['--socket=/dev/null/x'],
        ['--socket=/nowhere/x'],
        ['--socket=/etc/passwd'],
        ['--socket=/tmp'],
        ['--socket=/' + 200 * 'x'],
        ['--cores=100000'],
        ['more'],
    ],
    'benchmark': [['--only=nope'], ['--only=throughput,nope'], ['more']],
}

# Layers are known to TensorFlow, and so after its import; but before any data are there.
LAYERS = ['--freeze=nope', '--cache_dir=elsewhere']


@pytest.fixture(scope='module')
def all_answers(tmp_path_factory):
    """Program -> [flag or None, all arguments, code, errors, seconds, files left]."""
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
        layers = [LAYERS] if name in ('train', 'pretrain') else []
        asked = {'binary': name, 'base': base, 'lines': [*LINES[name], *layers]}
        processes[name].stdin.write(json.dumps(asked))
        processes[name].stdin.close()
        processes[name].stdin = None
    found = {}
    for name, process in processes.items():
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err[-2000:]
        found[name] = json.loads(out)
    return found


@pytest.fixture(scope='module')
def answers(all_answers):
    """Those to lines that are refused without TensorFlow."""
    return {
        name: [each for each in found if each[1][-2:] != LAYERS]
        for name, found in all_answers.items()
    }


def test_layers_are_looked_for_before_data(all_answers):
    found = [
        each for answer in all_answers.values() for each in answer if each[1][-2:] == LAYERS
    ]
    # The programs wanted to load TensorFlow, and had drawn nothing.
    assert [[code, left] for _, _, code, _, _, left in found] == [[None, []]] * 2


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


def from_a_shell(name, line, folder):
    """Returns what is wrong with the answer of a process of its own, '' if nothing."""
    command = [sys.executable, ROOT / 'bin' / f'{name}.py', *line]
    with tempfile.TemporaryDirectory(dir=folder) as place, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [os.fsencode(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=place,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().decode('utf-8', 'replace').strip().splitlines()
        # Of the processor, so that a busy machine is no fault.
        seconds = used.ru_utime + used.ru_stime
        fine = (
            process.returncode == 2
            and len(lines) == 1
            and lines[0].startswith('error: ')
            and seconds < 5
            and not os.listdir(place)
        )
        found = f'{name} {line}: code {process.returncode}, {seconds:.1f} s, {lines[-3:]}'
        return '' if fine else found


def check_from_a_shell(answers, folder, count):
    """Tries so many lines of each program; those with a NUL byte no shell can say."""
    generator = random.Random(5)
    tried = []
    for name in sorted(BASE):
        lines = [line for _, line, *_ in answers[name] if '\0' not in ''.join(line)]
        chosen = lines if count is None else generator.sample(lines, count)
        tried += [(name, line, folder) for line in chosen]
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [each for each in pool.map(lambda args: from_a_shell(*args), tried) if each]
    assert not wrong, '\n'.join(wrong)
    return len(tried)


def test_as_from_a_shell(answers, tmp_path):
    assert check_from_a_shell(answers, tmp_path, 1) == len(BASE)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_all_as_from_a_shell(answers, tmp_path):
    assert check_from_a_shell(answers, tmp_path, None) > 3000
