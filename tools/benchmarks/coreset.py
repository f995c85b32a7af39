"""Compare the time of the coreset selection with a plain loop and anomalib.

Each measurement runs in its own process on the features of a data set, and
medians are shown. The plain loop and anomalib take the same time for each
pick, so they may run with fewer picks (--picks), and their times are scaled
up. The pruned selection always runs completely.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PRELUDE = '''
import json, re, sys, time
import numpy as np, torch
features = torch.from_numpy(np.load(sys.argv[1]))
number = int(sys.argv[2])
def memory():
    # Not getrusage: its peak begins with that of the parent process.
    status = open('/proc/self/status').read()
    return int(re.search('VmHWM:\\s*(\\d+)', status)[1]) / 1024
'''
REPORT = '''
print(json.dumps([time.perf_counter() - start, memory() - before]))
'''
METHODS = dict(
    pruned='''
from mmad.models.layers import k_center_greedy
k_center_greedy(features[:300], 40)  # compile
before, start = memory(), time.perf_counter()
k_center_greedy(features, number)
''',
    loop='''
before, start = memory(), time.perf_counter()
norms = features.square().sum(1)
nearest = torch.full((len(features),), torch.inf)
index, chosen = 0, []
for _ in range(number):
    chosen.append(index)
    distance = torch.mv(features, features[index]).mul_(-2).add_(norms)
    torch.minimum(nearest, distance.add_(norms[index]), out=nearest)
    index = int(nearest.argmax())
''',
    anomalib='''
from anomalib.models.components import KCenterGreedy
before, start = memory(), time.perf_counter()
KCenterGreedy(features, number / len(features)).sample_coreset()
''')


def collect(args: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Write the training features of PatchCore, full and projected."""
    import numpy as np
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner

    from mmad.registry import MODELS
    from mmad.utils.command_line import load_config
    cfg = load_config(args)
    init_default_scope('mmad')
    loader = Runner.build_dataloader(cfg.train_dataloader)
    model = MODELS.build(cfg.model)
    model.begin_fit(len(loader.dataset), loader.batch_size)
    for batch in loader:
        model.train_step(batch)
    rows, numbers = model.memory_bank._held.take()
    full, projected = folder / 'full.npy', folder / 'projected.npy'
    np.save(full, rows.numpy())
    np.save(projected, model.memory_bank._project(rows, numbers).numpy())
    return full, projected


def measure(python: str, method: str, features: Path,
            number: int) -> tuple[float, float]:
    code = PRELUDE + METHODS[method] + REPORT
    done = subprocess.run(
        [python, '-c', code, str(features),
         str(number)],
        check=True,
        stdout=subprocess.PIPE,
        text=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    from mmad.utils.command_line import add_common_arguments
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    add_common_arguments(parser)
    parser.add_argument('--weights')
    parser.add_argument('--ratio', type=float, default=0.1)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--picks', type=int, help='picks of the plain loop')
    parser.add_argument(
        '--anomalib',
        metavar='PYTHON',
        help='interpreter of an environment with anomalib')
    parser.add_argument('--anomalib-picks', type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        full, projected = collect(args, Path(folder))
        import numpy as np
        rows = len(np.load(projected, mmap_mode='r'))
        number = int(args.ratio * rows)
        runs = [('pruned', sys.executable, projected, number),
                ('loop', sys.executable, projected, args.picks or number)]
        if args.anomalib:
            runs.append(('anomalib', args.anomalib, full, args.anomalib_picks))
        results = {name: [] for name, *_ in runs}
        for _ in range(args.repeats):
            for name, python, features, picks in runs:
                results[name].append(measure(python, name, features, picks))
        print(f'{number} of {rows} rows, medians of {args.repeats}')
        seconds = {}
        for name, _, _, picks in runs:
            times, memory = zip(*results[name])
            seconds[name] = statistics.median(times) * number / picks
            print(f'{name:9} {seconds[name]:9.1f} s '
                  f'({picks} picks run), +{statistics.median(memory):.0f} MB '
                  f'peak, {seconds[name] / seconds["pruned"]:.1f} x pruned')


if __name__ == '__main__':
    main()
