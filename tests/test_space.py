"""The folder space/: the service's page as a Space of the Hugging Face Hub."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

httpx = pytest.importorskip("httpx")
yaml = pytest.importorskip("yaml", reason="the extra `web` is not installed")
pytest.importorskip("gradio", reason="the extra `web` is not installed")

ROOT = Path(__file__).parents[1]
SPACE = ROOT / "space"
HOST = "mona-painter.hf.space"


def test_the_files_name_each_other_and_what_is_tested_here() -> None:
    front = yaml.safe_load((SPACE / "README.md").read_text("utf-8").split("---\n")[1])
    assert front["sdk"] == "gradio"
    assert (SPACE / front["app_file"]).is_file()
    assert f"gradio=={front['sdk_version']}\n" in (ROOT / "constraints.txt").read_text("utf-8")
    assert len(front["short_description"]) <= 60  # as the Hub takes it
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (SPACE / "requirements.txt").read_text("utf-8").splitlines()
    (needed,) = [line for line in lines if not line.startswith("#")]
    name, extras = re.fullmatch(r"(\w+)\[(.+)\]", needed).groups()  # type: ignore[union-attr]
    assert name == project["name"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the Space, running here as it does there."""
    words = [sys.executable, str(SPACE / "app.py"), "--port", "0"]
    environment = {
        **os.environ,
        "SPACE_HOST": HOST,
        "TEXTURENETS_CACHE": str(tmp_path_factory.mktemp("cache")),
    }
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().replace("0.0.0.0", "127.0.0.1")
        finally:
            process.terminate()


@pytest.mark.slow  # a quarter of a minute
def test_its_page_is_shown_in_a_frame_of_the_hub(address: str) -> None:
    there = {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-Host": HOST}
    page = httpx.get(f"{address}/", headers=there)
    assert page.status_code == 307
    assert page.headers["location"] == "page/"
    page = httpx.get(f"{address}/page/", headers=there, timeout=60)
    assert page.status_code == 200
    assert "frame-ancestors 'self' https://huggingface.co;" in page.headers["content-security-policy"]
    assert "texturenets" in page.text
    assert f'"root":"https://{HOST}/page"' in page.text.replace(" ", "")


@pytest.mark.slow
def test_a_photo_is_painted_over_its_interface(address: str) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(photo, "PNG")
    there = {"Origin": f"https://{HOST}", "Content-Type": "image/png"}
    made = httpx.post(f"{address}/v1/stylize?style=wave", content=photo.getvalue(), headers=there, timeout=60)
    assert made.status_code == 200, made.text
    with Image.open(io.BytesIO(made.content)) as picture:
        assert picture.size == (64, 48)
    other = httpx.post(
        f"{address}/v1/stylize", content=photo.getvalue(), headers={"Origin": "https://evil.example"}
    )
    assert other.status_code == 403
