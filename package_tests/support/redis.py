"""A real Redis server on a loopback port."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from .servers import free_port


class RedisServer:
    """A server that saves nothing to disk. The end of the `with` block stops it."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            if "REDIS_REQUIRED" in os.environ:
                raise AssertionError("redis-server is not installed, but REDIS_REQUIRED is set")
            pytest.skip("redis-server is not installed: apt-get install redis-server")
        self.port, self._program, self._folder = free_port(), program, folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis(port=self.port)

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self.client.close()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([self._program, *options], stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                self.client.ping()
                return
            except RedisError:
                assert time.monotonic() < end
                time.sleep(0.02)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
