"""The page of ``peers.py``: a section for each data set."""
import re
import textwrap

from peers_limits import aims, limits

# Key, title, factor and digits of a figure; whether less is better.
ROWS = [
    ('fit', 'fit (s)', 1, 2),
    ('features', 'of which features (s)', 1, 2),
    ('coreset', 'coreset alone (s)', 1, 2),
    ('start', 'before: compiling, once per process (s)', 1, 1),
    ('single', 'prediction, batch 1 (ms)', 1e3, 1),
    ('backbone', 'of which backbone (ms)', 1e3, 1),
    ('batch', 'prediction, batch 32 (ms per image)', 1e3, 1),
    ('fit_memory', 'peak memory of the fit (MiB)', 2**-20, 0),
    ('file_fit', 'fit, patches in a file (s)', 1, 2),
    ('file_fit_memory', 'peak memory of it (MiB)', 2**-20, 0),
    ('predict_memory', 'peak memory of the predictions (MiB)', 2**-20, 0),
    ('size', 'checkpoint (MiB)', 2**-20, 1),
]
# What the fit of mmad with a file is compared with.
BESIDE = dict(file_fit='fit', file_fit_memory='fit_memory')
SCALED = 'fit', 'coreset', 'file_fit'
BORROWED = ('single', 'batch', 'predict_memory', 'size', 'image AUROC',
            'pixel AUROC', 'AUPRO')
NAMES = dict(mmad='mmad', anomalib='anomalib', loop='plain loop')


def replace_section(page: str, name: str, text: str) -> str:
    """Put the section of a data set into the page, in place of an older one.

    Args:
        page (str): The page, or nothing. What is above its sections stays.
        name (str): Name of the data, which is the heading of the section.
        text (str): The section without its heading.
    """
    head, *parts = re.split(
        r'^## ', page or '# Benchmarks\n', flags=re.MULTILINE)
    sections = dict(part.split('\n', 1) for part in parts)
    sections[name] = text
    return f'{head.rstrip()}\n' + ''.join(
        f'\n## {heading}\n\n{found.strip()}\n'
        for heading, found in sections.items())


def section(results: dict) -> str:
    """Write the section of a data set, from what ``peers.py`` measured."""
    parts = [_conditions(results['conditions'])]
    parts += [_method(results, method) for method in results['figures']]
    parts += [_metrics(results), aims(results)]
    return '\n'.join(parts)


def _conditions(found: dict) -> str:
    images, tests = found['images']
    weights = (f'The weights are those of `{found["weights"]}`.'
               if found['weights'] else
               'The weights are random, so that accuracy says little.')
    versions = ', '.join(f'{name} {number}'
                         for name, number in found['versions'].items())
    repeats = found['repeats']
    runs = 'one run' if repeats == 1 else f'medians of {repeats} runs'
    text = (f'{found["machine"]}; {found["threads"]} threads; {versions}. '
            f'{images} training and {tests} test images at {found["size"]} '
            f'pixels, {runs}. {weights}')
    if found['quick']:
        text += ' A quick run: few images and picks.'
    if found['note']:
        text += f' {found["note"]}'
    return wrap(text)


def _method(results: dict, method: str) -> str:
    figures = results['figures'][method]
    accuracy = results['accuracy'][method]
    peers = list(figures)
    is_scaled = bool(results['ratios'][method] and results['picks']
                     and results['picks'] < _rows(results, method))
    header = ['', 'mmad']
    for peer in peers[1:]:
        header += [NAMES[peer], f'{NAMES[peer]} / mmad']
    rows = []
    for key, title, factor, digits in ROWS:
        if key == 'coreset' and not results['ratios'][method]:
            title = 'Gaussians alone (s)'
        row = [title]
        own = figures['mmad'].get(key)
        if own is None and key in BESIDE:
            continue
        for peer in peers:
            value = figures[peer].get(key if peer ==
                                      'mmad' else BESIDE.get(key, key))
            if value is None:
                row += ['-'] if peer == 'mmad' else ['-', '-']
                continue
            mark = _mark(key, peer, is_scaled)
            row.append(f'{factor * value:,.{digits}f}{mark}')
            if peer != 'mmad':
                row.append('-' if key == 'start' else f'{value / own:.2f}')
        rows.append(row)
    for key in accuracy['mmad']:
        row = [key]
        for peer in peers:
            row.append(f'{accuracy[peer][key]:.4f}' +
                       _mark(key, peer, is_scaled))
            if peer != 'mmad':
                row.append('')
        rows.append(row)
    notes = ''
    if is_scaled:
        notes = wrap(f'\\* Scaled up from {results["picks"]} picks to '
                     f'{_rows(results, method)}: all picks take them the '
                     'same time. † The bank is the selection of mmad, as '
                     'neither time nor memory depends on which rows it has.')
        notes = f'\n{notes}'
    return (f'### {method}\n\n{table(header, rows)}{notes}\n'
            f'{wrap(limits(results, method))}')


def _mark(key: str, peer: str, is_scaled: bool) -> str:
    if peer == 'mmad' or not is_scaled:
        return ''
    return ' \\*' if key in SCALED else ' †' if key in BORROWED else ''


def _rows(results: dict, method: str) -> int:
    return int(results['ratios'][method] * results['patches'])


def _metrics(results: dict) -> str:
    found = results['metrics']
    own = found['mmad, exact']
    names = list(own['values'])
    rows = []
    for name, figures in found.items():
        memory = figures.get('memory')
        rows.append([
            name, f'{figures["seconds"]:.2f}',
            f'{figures["seconds"] / own["seconds"]:.1f}',
            '-' if memory is None else f'{memory / 2**20:,.0f}',
            *(f'{figures["values"][key]:.6f}'
              if key in figures['values'] else '-' for key in names)
        ])
    header = ['', 'seconds', '/ mmad', 'memory (MiB)', *names]
    return (f'### Metrics\n\n{table(header, rows)}\n' + wrap(
        'The maps are those of PatchCore 10 %, brought to [0, 1]. mmad '
        'computes the values for each defect type besides. '
        'anomalib computes AP by a class of its own, `AUPR`, whose time is '
        'extra. ' + limits(results, 'metrics')))


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ['---'] + ['---:'] * (len(header) - 1), *rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def wrap(text: str) -> str:
    """Break a text into lines, at spaces."""
    return '\n'.join(
        textwrap.wrap(
            text, 118, break_long_words=False, break_on_hyphens=False)) + '\n'
