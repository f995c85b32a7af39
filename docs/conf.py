"""Sphinx configuration: MyST pages, Google-style docstrings, furo."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmad import __version__

project = 'mmad'
copyright = 'the mmad authors'
version = release = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.mathjax',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3
exclude_patterns = ['_build', 'examples']

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # the docstrings have the types, as prose
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [
    'Required Keys', 'Optional Keys', 'Modified Keys', 'Added Keys'
]

html_theme = 'furo'
html_title = f'mmad {release}'


def adapt_to_sphinx(app, docname, source):
    """Turn a page that is written for GitHub into one for Sphinx.

    Links to files outside this folder get to lead to their pages in it, and
    directives that stand in ``<!-- sphinx ... -->`` to be seen.
    """
    source[0] = re.sub(
        r'<!-- sphinx\n(.*?)-->', r'\1', source[0], flags=re.DOTALL)
    for pattern, page in ((r'\.\./configs/(\w+)/README\.md',
                           r'model_zoo/\1.md'), (r'\.\./CHANGELOG\.md',
                                                 'changelog.md'),
                          (r'\.\./CONTRIBUTING\.md', 'contributing.md')):
        source[0] = re.sub(rf'\]\({pattern}', rf']({page}', source[0])


def setup(app):
    app.connect('source-read', adapt_to_sphinx)
