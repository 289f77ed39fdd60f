"""The Docker SDK's transport for unix sockets, except that a socket that cannot be connected is closed.

The SDK leaves this to the garbage collector, which logs a warning whenever an engine is unavailable.
"""

from __future__ import annotations

import socket

from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool


class _Connection(UnixHTTPConnection):
    def connect(self) -> None:
        """Like the SDK's own method, without its leak."""
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            unix.settimeout(self.timeout)
            unix.connect(self.unix_socket)
        except OSError:
            unix.close()
            raise
        self.sock = unix


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> _Connection:  # type: ignore[override] # same as the SDK's; urllib3 expects a protocol
        # The SDK stores plain seconds where urllib3 has a Timeout.
        return _Connection(self.base_url, self.socket_path, self.timeout)  # type: ignore[arg-type]


class UnixAdapter(UnixHTTPAdapter):
    """Connects the SDK's client to one unix socket."""

    def get_connection(self, url: bytes | str, proxies: object = None) -> _Pool:
        """The pool of connections for an address."""
        del proxies  # not used with a unix socket
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(url)
            if pool is None:
                pool = _Pool(str(url), self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[url] = pool
            return pool
