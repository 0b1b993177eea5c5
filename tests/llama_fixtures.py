from collections.abc import Iterator

import pytest
from faulty_proxy import FaultyProxy
from llama_server import LlamaServer


@pytest.fixture(scope="session")
def llama() -> Iterator[LlamaServer]:
    with LlamaServer() as server:
        yield server


@pytest.fixture
def proxy(llama: LlamaServer) -> Iterator[FaultyProxy]:
    with FaultyProxy(llama.url) as one:
        yield one
