import ctypes
import json
import multiprocessing as mp
import os
import signal
import socket
import sys
import time
from datetime import timedelta

import pytest
import torch.distributed as dist

from mmad.errors import InputError
from mmad.utils.process_watch import ProcessWatch

TIMEOUT = 3.0


def wait_for_all(folder, world):
    while not all((folder / f'began{rank}').exists() for rank in range(world)):
        time.sleep(0.01)


def run(folder, rank, world, timeout, function):
    with open(folder / f'err{rank}', 'w') as sys.stderr:
        store = dist.FileStore(str(folder / 'store'), world)
        store.set_timeout(timedelta(seconds=timeout))
        watch = ProcessWatch(store, rank, world, '127.0.0.1', timeout)
        (folder / f'began{rank}').touch()
        wait_for_all(folder, world)
        function(rank, watch)
        watch.finish()
        (folder / f'ended{rank}').write_text(str(time.time()))


@pytest.fixture
def start(tmp_path):
    """Start a function in so many processes that watch each other."""
    started = []

    def begin(world, function, timeout=TIMEOUT):
        started.extend(
            mp.get_context('fork').Process(
                target=run, args=(tmp_path, rank, world, timeout, function))
            for rank in range(world))
        for process in started:
            process.start()
        while not all(
            (tmp_path / f'began{rank}').exists() for rank in range(world)):
            time.sleep(0.01)
        return started

    yield begin
    for process in started:
        process.kill()


def wait(processes, seconds):
    limit = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))
        assert not process.is_alive()


def work_until_ended(rank, watch):
    # As long as anything could take: the watch ends it.
    time.sleep(600)


def hold_the_interpreter(rank, watch):
    if rank == 1:
        # Without releasing the lock of the interpreter.
        ctypes.PyDLL(None).usleep(1_000_000)


@pytest.mark.parametrize('world', [1, 2, 4])
def test_all_finish_together(start, tmp_path, world):

    def work(rank, watch):
        time.sleep(0.3 * rank)

    processes = start(world, work)
    wait(processes, 20)
    assert [process.exitcode for process in processes] == [0] * world
    ends = [
        float((tmp_path / f'ended{rank}').read_text()) for rank in range(world)
    ]
    # Nobody has left before the last one came.
    assert max(ends) - min(ends) < 0.3
    assert not any((tmp_path / f'err{r}').read_text() for r in range(world))


def test_long_work_of_one_is_not_its_death(start, tmp_path):

    def work(rank, watch):
        hold_the_interpreter(rank, watch)
        time.sleep(5 if rank == 0 else 0)

    processes = start(3, work, timeout=3)
    wait(processes, 30)
    assert [process.exitcode for process in processes] == [0] * 3


@pytest.mark.parametrize('sign', [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize('victim', [0, 1, 2])
def test_killed(start, tmp_path, victim, sign):
    processes = start(3, work_until_ended, timeout=600)
    os.kill(processes[victim].pid, sign)
    # At once, whatever the timeout is.
    wait(processes, 20)
    for rank, process in enumerate(processes):
        said = (tmp_path / f'err{rank}').read_text()
        if rank == victim:
            assert process.exitcode == -sign
            assert said == ''
        else:
            assert process.exitcode == 1
            assert said.startswith(f'error: process {victim} of 3 (pid '
                                   f'{processes[victim].pid} on ')
            assert 'ended without a message' in said
            assert said.count('\n') == 1


@pytest.mark.parametrize('victim', [0, 2])
def test_stopped(start, tmp_path, victim):
    processes = start(3, work_until_ended)
    os.kill(processes[victim].pid, signal.SIGSTOP)
    others = [p for rank, p in enumerate(processes) if rank != victim]
    begin = time.monotonic()
    wait(others, 20)
    assert time.monotonic() - begin > TIMEOUT - 1.5
    for rank in {0, 1, 2} - {victim}:
        said = (tmp_path / f'err{rank}').read_text()
        assert f'process {victim} of 3' in said
        assert 'has not been heard of for 3 seconds' in said
    # It ends, too, should it ever continue.
    os.kill(processes[victim].pid, signal.SIGCONT)
    wait(processes, 20)


def test_all_were_stopped_for_a_while(start):
    processes = start(2, lambda rank, watch: time.sleep(1), timeout=2.5)
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    time.sleep(4)
    for process in processes:
        os.kill(process.pid, signal.SIGCONT)
    wait(processes, 20)
    assert [process.exitcode for process in processes] == [0, 0]


@pytest.mark.parametrize('victim', [0, 2])
def test_failure_with_a_reason(start, tmp_path, victim):

    def work(rank, watch):
        if rank == victim:
            watch.fail('failed: the image "ä\n.png" is broken')
            os._exit(2)
        time.sleep(600)

    processes = start(3, work, timeout=60)
    wait(processes, 20)
    for rank, process in enumerate(processes):
        assert process.exitcode == (2 if rank == victim else 1)
        said = (tmp_path / f'err{rank}').read_text()
        if rank != victim:
            assert said.startswith(f'error: process {victim} of 3 (pid ')
            assert 'failed: the image "' in said
            assert said.count('\n') == 1


def test_consequence_of_a_death_is_not_its_reason(start, tmp_path):

    def work(rank, watch):
        if rank == 2:
            (tmp_path / 'now').touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while not (tmp_path / 'now').exists():
            time.sleep(0.001)
        watch.fail('failed: Connection closed by peer', patience=5.0)

    processes = start(3, work, timeout=60)
    wait(processes, 20)
    assert [process.exitcode for process in processes] == [1, 1, -9]
    for rank in (0, 1):
        said = (tmp_path / f'err{rank}').read_text()
        assert 'process 2 of 3' in said
        assert 'closed by peer' not in said


def test_killed_while_its_workers_live_on(start, tmp_path):

    def work(rank, watch):
        if rank == 1 and not os.fork():
            (tmp_path / 'forked').touch()
            time.sleep(8)
            os._exit(0)
        time.sleep(600)

    processes = start(2, work, timeout=600)
    while not (tmp_path / 'forked').exists():
        time.sleep(0.01)
    processes[1].kill()
    wait(processes[:1], 6)
    assert processes[0].exitcode == 1


def test_strangers_are_not_let_in(tmp_path):
    store = dist.FileStore(str(tmp_path / 'store'), 2)
    store.set_timeout(timedelta(seconds=20))

    def visit(rank):
        visitor = dist.FileStore(str(tmp_path / 'store'), 2)
        port = json.loads(visitor.get('mmad/process_watch'))['port']
        for words in (b'GET / HTTP/1.0\r\n\r\n', b'[1]\n',
                      b'{"token": "\xc3\xa4", "rank": 1, "place": ""}\n', b''):
            with socket.create_connection(('127.0.0.1', port)) as one:
                one.sendall(words)
                one.shutdown(socket.SHUT_WR)
                assert one.recv(1) == b''
        ProcessWatch(visitor, 1, 2, '127.0.0.1', 20).finish()

    visitor = mp.get_context('fork').Process(target=visit, args=(1, ))
    visitor.start()
    ProcessWatch(store, 0, 2, '127.0.0.1', 20).finish()
    wait([visitor], 20)
    assert visitor.exitcode == 0


@pytest.mark.parametrize('rank', [0, 1])
def test_one_that_does_not_come(tmp_path, rank):
    store = dist.FileStore(str(tmp_path / 'store'), 2)
    store.set_timeout(timedelta(seconds=0.5))
    with pytest.raises(
            InputError, match=f'process {rank} of 2 .* within 0.5 seconds'):
        ProcessWatch(store, rank, 2, '127.0.0.1', 0.5)
