from report_folders import draw_scores, make_predictions, write_run

from mmad.visualization.report.plot import draw_plots
from mmad.visualization.report.run import read_runs


def test_each_run_has_its_lines(tmp_path):
    both = make_predictions(tmp_path / 'a', *draw_scores())
    good = make_predictions(tmp_path / 'b', *draw_scores(9, 0))
    good.pixel_ranking = None
    runs = read_runs([
        write_run(tmp_path / 'bare'),
        write_run(tmp_path / 'both', both, conditions=dict(fpr_limit=0.1)),
        write_run(tmp_path / 'good', good)
    ])
    plots = draw_plots(runs)
    assert [plot.key for plot in plots
            ] == ['roc', 'pr', 'pixel_roc', 'pixel_pr', 'pro']
    assert all([number for number, _ in plot.lines] == [1] for plot in plots)
    assert plots[-1].end == 0.3
    # Its curve ends at a third of the axis.
    assert plots[-1].lines[0][1].split('L')[-1].startswith('100 ')
    assert draw_plots(runs[::2]) == []


def test_the_saturated_overlap_is_apart(tmp_path):
    plain, saturated = (make_predictions(tmp_path / name, *draw_scores(),
                                         **about)
                        for name, about in (('a', {}),
                                            ('b', dict(is_saturated=True))))
    limits = dict(fpr_limit=0.2, spro_fpr_limit=0.05)
    plots = draw_plots(
        read_runs([
            write_run(tmp_path / 'plain', plain, conditions=limits),
            write_run(tmp_path / 'saturated', saturated, conditions=limits)
        ]))
    lines = {plot.key: [number for number, _ in plot.lines] for plot in plots}
    assert lines.pop('pro') == [0]
    assert lines.pop('spro') == [1]
    assert list(lines.values()) == 4 * [[0, 1]]
    assert plots[-1].end == 0.2
    assert plots[-1].lines[0][1].split('L')[-1].startswith('75 ')
