from .affine import (
    affine_matrix,
    compose_affine,
    describe_affine,
    invert_affine,
    warp,
)
from .anomaly_map import AnomalyMap
from .attribution import Attribution
from .channel_reduction import ChannelReduction
from .coreset import k_center_greedy, random_projection
from .coreset_bank import CoresetBank
from .decision import Decision
from .fine_alignment import FineAlignment
from .fitted_module import FittedModule
from .gallery import Gallery
from .gather_batch import gather_batch, own_part
from .gray_opening import gray_opening
from .memory_bank import MemoryBank
from .nearest_neighbors import distances_to, nearest_rows
from .patch_features import PatchFeatures
from .pixel_statistics import PixelStatistics
from .pose_search import PoseSearch
from .position_gaussians import PositionGaussians
from .processes import all_gather, all_gather_rows, all_reduce_, broadcast_
from .pyramid_search import nearest_in_images
from .pyramid_store import PyramidStore
from .spatial_transformer import SpatialTransformer
from .student_ensemble import (
    StudentEnsemble,
    predictive_variance,
    regression_error,
)
from .z_scores import ZScores

__all__ = [
    'AnomalyMap', 'Attribution', 'ChannelReduction', 'CoresetBank', 'Decision',
    'FineAlignment', 'FittedModule', 'Gallery', 'MemoryBank', 'PatchFeatures',
    'PixelStatistics', 'PoseSearch', 'PositionGaussians', 'PyramidStore',
    'SpatialTransformer', 'StudentEnsemble', 'ZScores', 'affine_matrix',
    'all_gather', 'all_gather_rows', 'all_reduce_', 'broadcast_',
    'compose_affine', 'describe_affine', 'distances_to', 'gather_batch',
    'gray_opening', 'invert_affine', 'k_center_greedy', 'nearest_in_images',
    'nearest_rows', 'own_part', 'predictive_variance', 'random_projection',
    'regression_error', 'warp'
]
