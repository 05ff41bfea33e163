"""What pyproject.toml cannot say of the build."""

import shutil

from setuptools import setup
from setuptools.command.build import build


class CleanBuild(build):
    """setuptools packs all that lies in build/lib, also files of an earlier build that are gone or renamed since."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build": CleanBuild})
