"""Real nginx, Apache and Varnish for the tests, from the binaries of the system's packages.

The system's own instances, their configuration, logs and data are left alone: what is started here reads a
configuration of its own, writes in a temporary folder only, listens on a free port of the loopback interface, and
runs as ``nobody`` where the tests run as root.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam
from tempfile import TemporaryDirectory

MODULES = Path("/usr/lib/apache2/modules")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"  # which Debian's ordinary users do not have in theirs
WAIT = 30  # seconds, after which a front end that does not answer is given up


class FrontEndMissingError(Exception):
    """There is no binary to start."""


@contextmanager
def nginx(settings: str, behind: int) -> Iterator[int]:
    """Start nginx with some settings of its ``http`` block, before the server on a port; yield its own port."""
    configuration = """
        pid {home}/pid;
        daemon off;
        worker_processes 1;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {home}/body;
            proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fastcgi;
            scgi_temp_path {home}/scgi;
            uwsgi_temp_path {home}/uwsgi;
            {settings}
            server {{
                listen 127.0.0.1:{port};
                location / {{ proxy_pass http://127.0.0.1:{behind}; }}
            }}
        }}
    """

    def command(home: Path, port: int) -> list[str]:
        own = settings.replace("/var/cache/nginx", str(home))  # where real settings put a cache
        file = home / "nginx.conf"
        file.write_text(configuration.format(home=home, port=port, behind=behind, settings=own))
        return ["-p", str(home), "-e", str(home / "error"), "-c", str(file)]

    with _running("nginx", command) as port:
        yield port


@contextmanager
def apache(settings: str, behind: int) -> Iterator[int]:
    """Start Apache with some settings of its server, before the server on a port; yield its own port."""
    modules = "authz_core brotli deflate env filter headers mpm_event proxy proxy_http setenvif"
    configuration = """
        {modules}
        ServerName localhost
        ServerRoot {home}
        DefaultRuntimeDir {home}
        PidFile {home}/pid
        ErrorLog {home}/error
        Listen 127.0.0.1:{port}
        StartServers 1
        ProxyPass / http://127.0.0.1:{behind}/
        {settings}
    """

    def command(home: Path, port: int) -> list[str]:
        loaded = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in modules.split())
        file = home / "apache2.conf"
        file.write_text(
            configuration.format(modules=loaded, home=home, port=port, behind=behind, settings=settings)
        )
        return ["-f", str(file), "-D", "FOREGROUND"]

    with _running("apache2", command) as port:
        yield port


@contextmanager
def varnish(settings: str, behind: int) -> Iterator[int]:
    """Start Varnish with some subroutines, before the server on a port; yield its own port."""
    configuration = 'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{behind}"; }}\n{settings}\n'

    def command(home: Path, port: int) -> list[str]:
        file = home / "default.vcl"
        file.write_text(configuration.format(behind=behind, settings=settings))
        listen = ["-a", f"127.0.0.1:{port}", "-T", "none"]
        frugal = ["-s", "malloc,8m", "-p", "vsl_space=1M", "-p", "thread_pools=1", "-p", "thread_pool_min=5"]
        return ["-F", "-j", "none", "-n", str(home / "work"), "-f", str(file), *listen, *frugal]

    with _running("varnishd", command) as port:
        yield port


@contextmanager
def _running(program: str, command: Callable[[Path, int], list[str]]) -> Iterator[int]:
    binary = shutil.which(program, path=PATH)
    if binary is None:
        raise FrontEndMissingError(program)
    with TemporaryDirectory(prefix=f"{program}-") as name:
        home = Path(name)
        port = _free_port()
        arguments = command(home, port)
        log = home / "error"
        log.touch()
        account = getpwnam("nobody") if os.geteuid() == 0 else None
        if account is not None:
            for path in (home, *home.iterdir()):
                shutil.chown(path, account.pw_uid, account.pw_gid)
        with log.open("a") as output:
            process = subprocess.Popen(
                [binary, *arguments],
                cwd=home,
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=None if account is None else account.pw_uid,
                group=None if account is None else account.pw_gid,
                extra_groups=None if account is None else [],
            )
        with process:
            try:
                deadline = time.monotonic() + WAIT
                while not _answers(port):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(log.read_text())
                    time.sleep(0.02)
                yield port
            finally:
                process.terminate()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
