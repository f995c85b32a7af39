from .load_teacher import load_teacher
from .patch_teacher import PatchTeacher

__all__ = ['PatchTeacher', 'load_teacher']
