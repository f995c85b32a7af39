from mmad.datasets.files import list_images


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_list_images(tmp_path):
    touch(tmp_path, 'b.PNG', 'a.jpeg', 'notes.txt', '.hidden.png', 'c/d.tif',
          'c/e/f.bmp', 'a.png.bak')
    names = [str(p.relative_to(tmp_path)) for p in list_images(tmp_path)]
    assert names == ['a.jpeg', 'b.PNG']
    names = [str(p.relative_to(tmp_path))
             for p in list_images(tmp_path, recursive=True)]
    assert names == ['a.jpeg', 'b.PNG', 'c/d.tif', 'c/e/f.bmp']


def test_order_does_not_depend_on_creation(tmp_path):
    names = [f'{i:03}.png' for i in range(40)]
    touch(tmp_path / 'up', *names)
    touch(tmp_path / 'down', *reversed(names))
    assert [p.name for p in list_images(tmp_path / 'up')] == names
    assert [p.name for p in list_images(tmp_path / 'down')] == names


def test_missing_folder(tmp_path):
    assert list_images(tmp_path / 'none') == []
