"""The registries of mmad, which are children of those of MMEngine.

There is one for every registry that a config can use. A class is looked up in
mmad first and then in MMEngine, without warnings.
"""
from mmengine import registry as mmengine
from mmengine.registry import Registry

# The runner, its loops and hooks.
RUNNERS = Registry(
    'runner', parent=mmengine.RUNNERS, locations=['mmad.engine'])
RUNNER_CONSTRUCTORS = Registry(
    'runner constructor',
    parent=mmengine.RUNNER_CONSTRUCTORS,
    locations=['mmad.engine'])
LOOPS = Registry('loop', parent=mmengine.LOOPS, locations=['mmad.engine'])
HOOKS = Registry('hook', parent=mmengine.HOOKS, locations=['mmad.engine'])
STRATEGIES = Registry(
    'strategy', parent=mmengine.STRATEGIES, locations=['mmad.engine'])
LOG_PROCESSORS = Registry(
    'log_processor', parent=mmengine.LOG_PROCESSORS, locations=['mmad.engine'])

# Optimization, for the methods that are trained by gradients.
OPTIMIZERS = Registry(
    'optimizer', parent=mmengine.OPTIMIZERS, locations=['mmad.engine'])
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=mmengine.OPTIM_WRAPPERS, locations=['mmad.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=mmengine.OPTIM_WRAPPER_CONSTRUCTORS,
    locations=['mmad.engine'])
PARAM_SCHEDULERS = Registry(
    'parameter scheduler',
    parent=mmengine.PARAM_SCHEDULERS,
    locations=['mmad.engine'])

# Data sets, samplers and transforms.
DATASETS = Registry(
    'dataset', parent=mmengine.DATASETS, locations=['mmad.datasets'])
DATA_SAMPLERS = Registry(
    'data sampler', parent=mmengine.DATA_SAMPLERS, locations=['mmad.datasets'])
TRANSFORMS = Registry(
    'transform',
    parent=mmengine.TRANSFORMS,
    locations=['mmad.datasets.transforms'])

# Backbones, detectors and losses.
MODELS = Registry('model', parent=mmengine.MODELS, locations=['mmad.models'])
MODEL_WRAPPERS = Registry(
    'model_wrapper', parent=mmengine.MODEL_WRAPPERS, locations=['mmad.models'])
WEIGHT_INITIALIZERS = Registry(
    'weight initializer',
    parent=mmengine.WEIGHT_INITIALIZERS,
    locations=['mmad.models'])
TASK_UTILS = Registry(
    'task util', parent=mmengine.TASK_UTILS, locations=['mmad.models'])

# Evaluation and visualization.
EVALUATOR = Registry(
    'evaluator', parent=mmengine.EVALUATOR, locations=['mmad.evaluation'])
METRICS = Registry(
    'metric', parent=mmengine.METRICS, locations=['mmad.evaluation'])
VISUALIZERS = Registry(
    'visualizer',
    parent=mmengine.VISUALIZERS,
    locations=['mmad.visualization'])
VISBACKENDS = Registry(
    'vis_backend',
    parent=mmengine.VISBACKENDS,
    locations=['mmad.visualization'])

# Programming interfaces.
INFERENCERS = Registry(
    'inferencer', parent=mmengine.INFERENCERS, locations=['mmad.apis'])
FUNCTIONS = Registry(
    'function', parent=mmengine.FUNCTIONS, locations=['mmad.apis'])
