"""How the scripts of `tools/` are run, and what they leave behind."""
import json
import os
import runpy
import sys
import traceback

from config_texts import ROOT

CATEGORY = ('--category', 'bottle')


def run_in_folder(folder, name, args, env):
    os.chdir(folder)
    os.environ.update(env)
    rank = env.get('RANK', '')
    # As Python opens them: names of files may be no text.
    with open(
            'stdout' + rank, 'w',
            errors='surrogateescape') as sys.stdout, open(
                'stderr' + rank, 'w', errors='backslashreplace') as sys.stderr:
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stderr.fileno(), 2)
        sys.argv = [name, *args]
        _run_script(name)


def _run_script(name):
    try:
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def metrics(folder):
    return (folder / 'metrics.json').read_bytes()


def is_one_sentence(result):
    lines = result.err.splitlines()
    return (result.status == 2 and len(lines) == 1
            and lines[0].startswith('error: '))


# Stands in for train.py and test.py, and starts in no time. What a test left
# in `train.spoil` or `test.spoil` is run in between.
QUICK_TOOL = r'''
import json, os, sys, time
from pathlib import Path

tool = Path(sys.argv[0]).stem
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1])
options = [arg for arg in sys.argv[2:] if arg.startswith('--')]
with open(folder / 'calls', 'a') as calls:
    json.dump(dict(tool=tool, options=options[:-1], pid=os.getpid(),
                   begin=time.time(), env=dict(os.environ)), calls)
    calls.write('\n')
print('Some words')
spoil = folder / (tool + '.spoil')
if spoil.exists():
    exec(spoil.read_text())
if tool == 'train':
    (folder / 'epoch_1.pth').touch()
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
else:
    assert sys.argv[2].endswith('epoch_1.pth')
    (folder / 'metrics.json').write_text(json.dumps(dict(
        image_auroc=0.75, aupro='undefined', per_defect_type={},
        conditions=dict(images=8))))
'''


def calls(work_dir, category):
    lines = (work_dir / category / 'calls').read_text().splitlines()
    return [json.loads(line) for line in lines]
