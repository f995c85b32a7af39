"""What the repository holds besides code."""
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 2 << 20
# Folders that belong to somebody's machine.
PRIVATE = re.compile(r'(?<![\w.\-])/(home|Users|root|scratch|tmp/wt|work)/')
YAML = [
    'CITATION.cff', '.pre-commit-config.yaml', '.readthedocs.yaml',
    '.github/workflows/ci.yml', '.github/workflows/weekly.yml',
    '.github/ISSUE_TEMPLATE/bug_report.yml',
    '.github/ISSUE_TEMPLATE/feature_request.yml'
]


@pytest.fixture(scope='module')
def files():
    listing = subprocess.run(['git', 'ls-files', '-z'],
                             cwd=ROOT,
                             stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL,
                             text=True)
    if listing.returncode:
        pytest.skip('needs a clone')
    paths = [ROOT / name for name in listing.stdout.split('\0') if name]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope='module')
def project():
    # Python has it from 3.11 on.
    tomllib = pytest.importorskip('tomllib')
    return tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']


def test_no_large_files(files):
    assert [path for path in files if path.stat().st_size > MAX_BYTES] == []


def test_no_paths_of_a_machine(files):
    found = [
        f'{path.relative_to(ROOT)}: {line}' for path in files
        if path.suffix not in ('.pth',
                               '.png') and path.name != Path(__file__).name
        for line in path.read_text().splitlines() if PRIVATE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize('name',
                         ['CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'])
def test_page_names_files_that_exist(name):
    text = (ROOT / name).read_text()
    named = re.findall(
        r'(?<![\w/.-])(?:configs|tools|docs|tests|mmad)/[\w./-]+\.\w+', text)
    # Placeholders are in capital letters.
    missing = [
        path for path in named
        if not (ROOT / path).exists() and not re.search('[A-Z]{3}', path)
    ]
    assert missing == []


@pytest.mark.parametrize('name', YAML)
def test_is_yaml(name):
    assert isinstance(yaml.safe_load((ROOT / name).read_text()), dict)


def test_citation_has_the_version():
    from mmad import __version__
    cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert cited['version'] == __version__
    assert f'## {__version__}' in (ROOT / 'CHANGELOG.md').read_text()


def test_oldest_releases_are_the_promised_ones(project):
    promised = dict(
        re.fullmatch(r'([\w-]+)>=([\d.]+)', requirement).groups()
        for requirement in [
            *project['dependencies'], *project['optional-dependencies']
            ['mmcv-lite'], *project['optional-dependencies']['faiss']
        ])
    oldest = dict(
        re.findall(r'^([\w-]+)==([\d.]+?)(?:\.\*)?$',
                   (ROOT / '.ci' / 'oldest.txt').read_text(), re.MULTILINE))
    assert set(oldest) == set(promised)
    for name, version in promised.items():
        assert f'{oldest[name]}.0'.startswith(f'{version}.')


def test_the_hook_checks_style_with_the_same_ruff(project):
    pin, = (
        requirement.removeprefix('ruff==').removesuffix('*')
        for requirement in project['optional-dependencies']['dev']
        if requirement.startswith('ruff'))
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    revision, = (
        repo['rev'] for repo in hooks['repos']
        if repo['repo'].endswith('ruff-pre-commit'))
    assert revision.startswith(f'v{pin}')
