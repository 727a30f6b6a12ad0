"""Puts the template of `python -m zuplo_origin new` into the wheel: this repository's top level. See pyproject.toml."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from zuplo_origin.dev import template  # noqa: E402  # from here, not from an installed version


class BuildWithTemplate(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the checkout is read in place
            return
        folder = Path(self.build_lib) / "zuplo_origin/dev/template"
        shutil.rmtree(folder, ignore_errors=True)
        for name in [*template.names(HERE), template.LOCKED]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / name, folder / name)
        locked = folder / template.LOCKED
        locked.write_text(template.versions(locked.read_text()))  # a hundredth of its size


setup(cmdclass={"build_py": BuildWithTemplate})
