"""Let no process of a distributed run wait for one that has died."""
import hmac
import json
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmad.errors import InputError, printable

if TYPE_CHECKING:
    from torch.distributed import Store

# Exit status of a process that ends since another one has.
ENDED_STATUS = 1
_KEY = 'mmad/process_watch'
_ADVICE = ('start the same command again, and train.py with --resume to go on '
           'from the latest checkpoint')


@dataclass(eq=False)
class _Peer:
    """A process at the other end of a connection."""
    rank: int
    socket: socket.socket
    place: str
    received: bytes = b''
    silence: float = 0.0
    has_finished: bool = False


class ProcessWatch:
    """Ends this process as soon as another one of the run has ended early.

    Each process holds a connection to process 0. The system closes it when
    one of them is killed, so that the other end knows at once. A process that
    was stopped, or whose machine is gone, is known by its silence: a thread
    of each process sends a sign of life every second, whatever the process
    computes meanwhile. So a process may work alone for hours while the others
    wait, which no timeout of a collective can tell from death.

    Process 0 prints which process has ended and why, and tells the others.
    All of them end by ``os._exit``, since a thread that waits in a collective
    cannot be interrupted.

    Args:
        store (Store): Store of the run, through which they find each other.
        rank (int): Number of this process.
        world_size (int): Number of processes.
        host (str): Address of process 0.
        timeout (float): Seconds of silence after which a process counts as
            dead.

    Raises:
        InputError: If a process does not connect within ``timeout``.
    """

    def __init__(self, store: 'Store', rank: int, world_size: int, host: str,
                 timeout: float) -> None:
        # Process 0 serves it, also to a process group that is made later.
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._timeout = timeout
        self._interval = min(1.0, timeout / 5)
        self._is_leaving = False
        self._reason: str | None = None
        try:
            if rank == 0:
                self._peers = _accept_peers(store, world_size, timeout)
            else:
                self._peers = [_connect(store, rank, host, timeout)]
        # Of a store, too, which raises it where a key does not come.
        except (OSError, RuntimeError) as error:
            raise InputError(
                f'process {rank} of {world_size} could not be connected with '
                f'{"all others" if rank == 0 else "process 0"} within '
                f'{timeout:g} seconds (`env_cfg.dist_timeout`): '
                f'{" ".join(str(error).split())[:200]}.') from error
        self._selector = selectors.DefaultSelector()
        for peer in self._peers:
            peer.socket.setblocking(False)
            self._selector.register(peer.socket, selectors.EVENT_READ, peer)
        self._wake, woken = socket.socketpair()
        self._selector.register(woken, selectors.EVENT_READ)
        self._sockets = [self._wake, woken, *(p.socket for p in self._peers)]
        # Else a worker of a data loader would hold the connections of a
        # process that was killed.
        os.register_at_fork(after_in_child=self._close)
        self._thread = threading.Thread(
            target=self._run, name='process watch', daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until all processes have called this, and end the watch."""
        self._leave(None)

    def fail(self, reason: str, patience: float = 0.0) -> None:
        """Let all others end, since this process is about to.

        Args:
            reason (str): Why, as process 0 prints it.
            patience (float): Seconds to wait before, in which this process
                ends if another one has ended first: an error in a collective
                may follow from that. Defaults to 0.0.
        """
        self._thread.join(patience)
        self._leave(reason)

    def _leave(self, reason: str | None) -> None:
        if self._thread.is_alive():
            self._reason = reason
            self._is_leaving = True
            self._wake.send(b'.')
            self._thread.join()
        self._close()

    def _close(self) -> None:
        self._selector.close()
        for one in self._sockets:
            one.close()

    def _run(self) -> None:
        beaten = time.monotonic()
        while not self._has_ended():
            before = time.monotonic()
            for key, _ in self._selector.select(self._interval):
                if key.data is None:
                    self._selector.unregister(key.fileobj)
                    if self._rank and self._reason is None:
                        _send(self._peers, finished=True)
                else:
                    self._receive(key.data)
            now = time.monotonic()
            # No more than that: this process may have been stopped itself.
            self._add_silence(min(now - before, 2 * self._interval))
            if now - beaten >= self._interval:
                _send(self._peers)
                beaten = now
        if self._reason is not None:
            _send(self._peers, rank=self._rank, reason=self._reason)
        elif self._rank == 0:
            _send(self._peers, finished=True)
        _flush(self._peers)

    def _has_ended(self) -> bool:
        return self._is_leaving and (self._reason is not None
                                     or all(peer.has_finished
                                            for peer in self._peers))

    def _receive(self, peer: _Peer) -> None:
        peer.silence = 0.0
        try:
            data = peer.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        if not data:
            self._selector.unregister(peer.socket)
            if not peer.has_finished:
                self._end(
                    peer, 'ended without a message, as if it was killed or '
                    'out of memory')
            return
        *lines, peer.received = (peer.received + data).split(b'\n')
        for message in map(json.loads, filter(None, lines)):
            if 'reason' in message:
                self._end(peer, message['reason'])
            elif 'ended' in message:
                self._exit(message['ended'])
            else:
                peer.has_finished = True

    def _add_silence(self, seconds: float) -> None:
        for peer in self._peers:
            peer.silence += seconds
            if peer.silence > self._timeout and not peer.has_finished:
                self._end(
                    peer, 'has not been heard of for '
                    f'{self._timeout:g} seconds (`env_cfg.dist_timeout`)')

    def _end(self, peer: _Peer, reason: str) -> None:
        """End all processes, since one of them has ended."""
        ended = (f'process {peer.rank} of {self._world_size} ({peer.place}) '
                 f'{reason}')
        if self._rank == 0:
            _send((other for other in self._peers if other is not peer),
                  ended=ended)
        self._exit(ended)

    def _exit(self, ended: str) -> None:
        try:
            # Below a bar that is being drawn.
            start = '\n' if sys.stderr.isatty() else ''
            role = 'so this run has ended' if self._rank == 0 else (
                f'so process {self._rank} ends as well')
            sys.stderr.write(
                f'{start}error: {printable(ended)}, {role}; {_ADVICE}.\n')
            sys.stderr.flush()
        finally:
            os._exit(ENDED_STATUS)


def _accept_peers(store: 'Store', world_size: int,
                  timeout: float) -> list[_Peer]:
    """Accept the connections of all other processes, as process 0."""
    token = secrets.token_hex()
    dual = socket.has_dualstack_ipv6()
    peers: list[_Peer] = []
    with socket.create_server(
        ('', 0),
            family=socket.AF_INET6 if dual else socket.AF_INET,
            backlog=world_size,
            dualstack_ipv6=dual) as server:
        store.set(
            _KEY,
            json.dumps(
                dict(
                    port=server.getsockname()[1],
                    token=token,
                    place=_own_place())))
        limit = time.monotonic() + timeout
        while len(peers) < world_size - 1:
            server.settimeout(max(0.0, limit - time.monotonic()) or 0.001)
            one, _ = server.accept()
            hello = _read_line(one)
            # Anybody may connect.
            if hello is None or not hmac.compare_digest(
                    str(hello.pop('token', '')).encode(), token.encode()):
                one.close()
                continue
            peers.append(_Peer(socket=one, **hello))
    return peers


def _connect(store: 'Store', rank: int, host: str, timeout: float) -> _Peer:
    """Connect to process 0."""
    known = json.loads(store.get(_KEY))
    one = socket.create_connection((host, known['port']), timeout)
    hello = dict(token=known['token'], rank=rank, place=_own_place())
    one.sendall(json.dumps(hello).encode() + b'\n')
    return _Peer(0, one, known['place'])


def _read_line(one: socket.socket) -> dict | None:
    """Read a line of JSON; None if there is something else, or nothing."""
    line = b''
    one.settimeout(5)
    try:
        while not line.endswith(b'\n') and len(line) < 1000:
            data = one.recv(1000)
            if not data:
                break
            line += data
        found = json.loads(line)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _own_place() -> str:
    return f'pid {os.getpid()} on {socket.gethostname()}'


def _send(peers: Iterable[_Peer], **message: object) -> None:
    """Send a message, or without one a sign of life."""
    line = (json.dumps(message) if message else '').encode() + b'\n'
    for peer in peers:
        try:
            peer.socket.sendall(line)
        except OSError:
            # Receiving from it tells that it has gone.
            continue


def _flush(peers: Iterable[_Peer]) -> None:
    """Wait until the last messages have arrived, for a second at most.

    The system drops what has not when a connection is closed with signs of
    life unread.
    """
    limit = time.monotonic() + 1
    for peer in peers:
        try:
            peer.socket.shutdown(socket.SHUT_WR)
            while (left := limit - time.monotonic()) > 0:
                peer.socket.settimeout(left)
                if not peer.socket.recv(1 << 16):
                    break
        except OSError:
            # It is closed already, or the time is over.
            continue
