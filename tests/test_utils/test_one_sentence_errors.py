import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.visualization import WandbVisBackend

from mmad.errors import InputError
from mmad.registry import HOOKS, MODELS, OPTIMIZERS, TRANSFORMS
from mmad.utils.one_sentence_errors import one_sentence_errors

OWN = Registry('own', scope='mmad')


@OWN.register_module()
class Own:

    def __init__(self, bug=None):
        if bug == 'type':
            dict(3)
        if bug == 'keyword':
            Own(bgu=1)
        if bug == 'value':
            raise ValueError('bug')


def end_of(function):
    with pytest.raises(SystemExit) as end:
        one_sentence_errors(function)()
    return end.value.code


@pytest.mark.parametrize('build', [
    lambda: MODELS.build(dict(type='Nonesuch')),
    lambda: MODELS.build(dict(backbone=3)),
    lambda: OWN.build(dict(type='Own', bgu='type')),
    lambda: HOOKS.build(dict(type='LoggerHook', interval=0)),
    lambda: HOOKS.build(dict(type='LoggerHook', intreval=1)),
    lambda: OPTIMIZERS.build(
        dict(type='Adam', params=[torch.ones(1)], lr=-1.0)),
])
def test_what_a_constructor_refuses_is_a_sentence(capsys, build):
    assert end_of(build) == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err.startswith('error: ')
    assert err.count('\n') == 1


@pytest.mark.parametrize(('bug', 'kind'), [('type', TypeError),
                                           ('keyword', TypeError),
                                           ('value', ValueError)])
def test_bugs_inside_a_constructor_keep_their_traceback(bug, kind):

    @one_sentence_errors
    def main():
        OWN.build(dict(type='Own', bug=bug))

    with pytest.raises(kind):
        main()


def test_an_unexpected_keyword_in_code_is_a_bug():

    @one_sentence_errors
    def main():
        Own(bgu=3)

    with pytest.raises(TypeError, match='unexpected keyword'):
        main()


def test_a_package_that_a_library_wants(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__('sys').modules, 'wandb', None)

    def main():
        WandbVisBackend(str(tmp_path)).add_config(Config())

    assert end_of(main) == 2
    assert 'wandb' in capsys.readouterr().err


def _plain():
    raise KeyboardInterrupt


def _swallowed():
    try:
        raise KeyboardInterrupt
    except:  # noqa: E722
        raise SyntaxError('Failed to format the config file')  # noqa: B904


def _chained():
    try:
        _swallowed()
    except SyntaxError as error:
        raise InputError('a file is broken') from error


@pytest.mark.parametrize('interrupt', [_plain, _swallowed, _chained])
def test_interrupts_whatever_became_of_them(capsys, interrupt):
    assert end_of(interrupt) == 130
    assert capsys.readouterr() == ('', 'interrupted.\n')


@pytest.mark.parametrize(('message', 'line'), [
    ('a\nb.', 'error: a b.'),
    ('Caught InputError in DataLoader worker process 0.\nTraceback (most '
     'recent call last):\n  File "x.py"\nmmad.errors.InputError: image "a\nb"'
     ' is broken.\n', 'error: image "a b" is broken.'),
    ('"InputError: x" is no name.', 'error: "InputError: x" is no name.'),
])
def test_names_with_line_breaks_stay_whole(capsys, message, line):

    def main():
        raise InputError(message)

    assert end_of(main) == 2
    assert capsys.readouterr().err == line + '\n'


@pytest.mark.parametrize(('steps', 'words'), [
    ([dict(type='LoadMask')], ('LoadMask', '`ori_shape`')),
    ([dict(type='RandomGrayscale', prob=1.0)], ('Grayscale', '`img`')),
    ([dict(type='Letterbox', scale=(8, 8))], ('Letterbox', '`img`')),
    ([dict(type='Load'), dict(type='Resize', scale=(0, 8))], ('Resize', )),
    ([dict(type='Load'),
      dict(type='Resize', scale=(8, 8), interpolation='x')], ('Resize', )),
])
def test_steps_in_a_wrong_order_or_of_no_size(capsys, steps, words):

    def run():
        pipeline = Compose([
            (lambda results: dict(results, img=np.zeros((9, 9, 3), np.uint8)))
            if step['type'] == 'Load' else TRANSFORMS.build(step)
            for step in steps
        ])
        pipeline(dict(mask_path=None, gt_label=0, img_path='a.png'))

    assert end_of(run) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1
    assert all(word in err for word in words)


def test_a_bug_of_a_step_of_ones_own_keeps_its_traceback():

    class Buggy(BaseTransform):

        def transform(self, results):
            return results['no such key']

    with pytest.raises(KeyError):
        one_sentence_errors(lambda: Buggy()({}))()


def test_a_bug_in_code_of_ones_own_inside_a_library_keeps_its_traceback():

    def buggy(results):
        return results['no such key'] if 'img' in results else len(3)

    for results, kind in ((dict(img=1), KeyError), ({}, TypeError)):
        choice = TRANSFORMS.build(
            dict(type='RandomApply', prob=1.0, transforms=[buggy]))
        with pytest.raises(kind):
            one_sentence_errors(lambda: choice(results))()  # noqa: B023


OWN_PARTS = '''
from mmad.models import DemoBackbone, PatchCore
from mmad.registry import MODELS


def add(number):
    return 'a' + number


@MODELS.register_module()
class OwnBackbone(DemoBackbone):

    def __init__(self, stages=('layer2', ), weights='demo', extra=None):
        super().__init__(stages=stages, weights=weights)
        self.extra = extra
        if extra == 'init':
            add(1)

    def forward(self, inputs):
        if self.extra == 'forward':
            add(1)
        return super().forward(inputs)
'''


@pytest.mark.parametrize(('option', 'sentence'), [
    ('model.backbone.extra=init', None),
    ('model.backbone.extra=forward', None),
    ('model.backbone.extar=init',
     'error: `model.backbone` of the config: OwnBackbone has no `extar`; did '
     'you mean `extra`?\n'),
])
def test_a_class_of_ones_own(config, run_tool, tmp_path, monkeypatch, option,
                             sentence):
    """Its TypeError is a bug; a misspelt argument of the config is none."""
    (tmp_path / 'own_classes.py').write_text(OWN_PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'own.py').write_text(
        f"_base_ = '{config}'\n"
        "custom_imports = dict(imports=['own_classes'])\n"
        "model = dict(backbone=dict(_delete_=True, type='OwnBackbone'))\n")
    result = run_tool(tmp_path, 'train.py', 'own.py', '--category', 'bottle',
                      '--cfg-options', option)
    if sentence is not None:
        assert (result.status, result.err) == (2, sentence)
        return
    assert result.status == 1
    assert 'Traceback' in result.err
    assert 'in add\n' in result.err
    assert 'TypeError: can only concatenate str' in result.err
