"""Opens the LLM that a config's ``llm`` section names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from nemo_vtb.inference.llms.interface import LLM
from nemo_vtb.options import Range, read_options


@dataclass(frozen=True)
class LLMOptions:
    """The ``llm`` section.

    Attributes:
        model: The name a server knows it by; in this process an asset, a folder or a hub id.
        backend: ``openai`` for any server that speaks OpenAI's protocol, ``hf`` for Hugging Face in this process.
        base_url: Of the server, up to and with ``/v1``.
        api_key_env: The environment variable that holds the server's key, or None.
        concurrency: Requests at a time.
        timeout: Seconds until a request without an answer is given up and sent again.
        retries: How often a request is sent again before the run stops; the wait doubles from half a second on.
        device: Of the model in this process.
        dtype: Of its weights.
        batch_size: Prompts at a time in this process.
    """

    model: str
    backend: Literal["openai", "hf"] = "openai"
    base_url: str = "http://127.0.0.1:8080/v1"
    api_key_env: str | None = None
    concurrency: Annotated[int, Range(1, 1024)] = 8
    timeout: Annotated[float, Range(0.001, 10**6)] = 120.0
    retries: Annotated[int, Range(0, 100)] = 6
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch_size: Annotated[int, Range(1, 10**6)] = 16

    @classmethod
    def read(cls, section: Mapping[str, Any]) -> "LLMOptions":
        """Reads the section.

        Raises:
            VTBError: Names the key that is unknown, missing or of a wrong type.
        """
        return read_options(cls, section, "llm")

    def deciding(self) -> dict[str, Any]:
        """What the replies depend on, for a job's settings: a server may move, and be asked more at a time."""
        own = {"llm.dtype": self.dtype} if self.backend == "hf" else {}
        return {"llm.backend": self.backend, "llm.model": self.model, **own}


def open_llm(section: Mapping[str, Any]) -> LLM:
    """Opens the LLM; a server is asked whether it is there and has the model.

    Raises:
        VTBError: As ``LLMOptions.read``; if the model or the server cannot be had.
    """
    options = LLMOptions.read(section)
    if options.backend == "openai":
        from nemo_vtb.inference.llms.openai import OpenAILLM

        return OpenAILLM(
            options.model,
            options.base_url,
            options.api_key_env,
            options.concurrency,
            options.timeout,
            options.retries,
        )
    from nemo_vtb.inference.llms.hugging_face import HuggingFaceLLM

    return HuggingFaceLLM(options.model, options.device, options.dtype, options.batch_size)
