"""What ``peers.py`` says of its figures: limits, and aims."""

# Bytes of float32.
FLOAT = 4
PROJECTED = 128
# Of stages 2 and 3 of ResNet-18, which PatchCore holds, and of PaDiM.
HELD = 384
CHANNELS = 100
# Name of the peer that the aims are about.
PEER = 'anomalib'


def limits(results: dict, method: str) -> str:
    """Say what stands between the figures of a method and their limits."""
    if method == 'metrics':
        return _of_metrics(results)
    own = results['figures'][method]['mmad']
    share = own['features'] / own['fit']
    text = (f'Fit: {share:.0%} of the time of mmad are the features, which '
            'the backbone limits. ')
    bandwidth = results['bandwidth']
    if results['ratios'][method]:
        rows = int(results['ratios'][method] * results['patches'])
        bytes_read = rows * results['patches'] * PROJECTED * FLOAT
        text += (
            'Reading the projected features once for each pick would take '
            f'{bytes_read / bandwidth:,.1f} s at the {bandwidth / 1e9:.1f} '
            'GB/s that were measured here, the limit of a loop; the pruned '
            f'selection takes {own["coreset"]:.2f} s, the projection '
            'included. Its memory is that of the patches, '
            f'{results["patches"] * HELD * FLOAT / 2**20:.0f} MiB, and of '
            'what they are projected to, '
            f'{results["patches"] * PROJECTED * FLOAT / 2**20:.0f} MiB, which '
            'are held until the choice is made. ')
        if 'file_fit_memory' in own:
            text += ('With the patches in a file, the peak is that of the '
                     'choice, of the projections and what it notes of them, '
                     'or that of extracting the features of a batch. ')
    else:
        sums = results['positions'] * CHANNELS**2 * 8 / 2
        text += (f'The Gaussians take {own["coreset"]:.2f} s; their sums, '
                 f'{sums / 2**20:.0f} MiB in float64, bound the memory, '
                 'whatever the number of images. ')
    rest = own['single'] - own['backbone']
    most = results['figures'][method][PEER]['single'] / own['backbone']
    text += (f'Prediction: the backbone takes {own["backbone"] * 1e3:.1f} of '
             f'{own["single"] * 1e3:.1f} ms at batch 1 '
             f'({own["backbone"] / own["single"]:.0%}), and that is the '
             f'limit: {most:.1f} times as fast as {PEER}. {rest * 1e3:.1f} '
             'ms remain')
    if results['ratios'][method] is None:
        factor = (results['positions'] * CHANNELS * (CHANNELS + 1) / 2 * FLOAT)
        text += (f', of which reading the factors, {factor / 2**20:.0f} MiB, '
                 f'takes {factor / bandwidth * 1e3:.1f} ms')
        return text + '.'
    return (
        f'{text}, nearly all of it for the search. Accuracy: anomalib repeats '
        'the score of a patch over its pixels before it smooths them, where '
        'the paper and mmad interpolate; the last digits of pixel AUROC and '
        'AUPRO differ by that.')


def _of_metrics(results: dict) -> str:
    exact, binned = (
        results['metrics'][f'mmad, {kind}'] for kind in ('exact', '20 bits'))
    images, (_, tests) = results['conditions'], results['conditions']['images']
    pixels = tests * images['size']**2
    return (
        f'Exact values need the {pixels / 1e6:.1f} million scores in order; '
        f'that is {exact["seconds"] / pixels * 1e9:.0f} ns for each, and '
        'more where more pixels are defective, since their places among the '
        'others are looked up. With scores of 20 bits, memory is bounded; it '
        f'takes {binned["seconds"] / exact["seconds"]:.1f} times as long.')


def aims(results: dict) -> str:
    """Compare the figures with what mmad aims at."""
    rows = []

    def add(title: str, wanted: str, value: float, is_met: bool) -> None:
        rows.append(f'| {title} | {wanted} | {value:.2f} | '
                    f'{"met" if is_met else "**not met**"} |\n')

    def at_least(title: str, wanted: float, value: float) -> None:
        add(title, f'≥ {wanted:g} x', value, value >= wanted)

    def ratio(method: str, figure: str, own: str | None = None) -> float:
        figures = results['figures'][method]
        return figures[PEER][figure] / figures['mmad'][own or figure]

    name = 'PatchCore 10 %'
    own = results['figures'][name]['mmad']
    for where, fit, memory in (('', 'fit', 'fit_memory'),
                               (', patches in a file', 'file_fit',
                                'file_fit_memory')):
        if fit in own:
            at_least(f'{name}, fit{where}', 50, ratio(name, 'fit', fit))
        if memory in own:
            share = 1 / ratio(name, 'fit_memory', memory)
            add(f'{name}, peak memory of the fit{where}', '≤ 0.15 x', share,
                share <= 0.15)
    for method, wanted in (('PatchCore 10 %', 4), ('PatchCore 1 %', 1.5),
                           ('PaDiM', 2)):
        for figure, batch in (('single', 1), ('batch', 32)):
            at_least(f'{method}, prediction, batch {batch}', wanted,
                     ratio(method, figure))
    at_least('PaDiM, fit', 2, ratio('PaDiM', 'fit'))
    metrics = results['metrics']
    at_least('AUROC, AUPRO and PR curve', 10,
             metrics[PEER]['seconds'] / metrics['mmad, exact']['seconds'])
    binned = (
        metrics['mmad, 20 bits']['seconds'] /
        metrics['mmad, exact']['seconds'])
    add('metrics with scores of 20 bits, time / exact', '≤ 2 x', binned, binned
        <= 2)
    for method, accuracy in results['accuracy'].items():
        for name, value in accuracy['mmad'].items():
            # To the digits that the tables have.
            gain = round(value - accuracy[PEER][name], 4) + 0.0
            rows.append(f'| {method}, {name} | not below | {gain:+.4f} | '
                        f'{"met" if gain >= 0 else "**not met**"} |\n')
    return ('### Aims\n\nmmad against anomalib, by the figures above:\n\n'
            '| | aim | measured | |\n| --- | ---: | ---: | --- |\n' +
            ''.join(rows))
