"""What ``auto`` becomes, for machines that are not this one."""

import pytest
import torch

from nemo_vtb.parts.machine.choice import FULL, HALF, choose_attention, choose_precision, choose_threads, is_half
from nemo_vtb.parts.machine.hardware import Machine, look, matrix_rates, parameter_count

AVX512 = Machine("cpu", "Server", vectors="AVX-512", rates={"float32": 123.0, "bfloat16": 25.0}, cores=2)
AMX = Machine("cpu", "Newer server", bf16="AMX", vectors="AVX-512", rates={"float32": 100.0, "bfloat16": 900.0})
# A virtual machine that shows the flag of what its host emulates.
SLOW_FLAG = Machine("cpu", "Guest", bf16="AVX-512 BF16", rates={"float32": 100.0, "bfloat16": 60.0})
ARM = Machine("cpu", "Arm", vectors="Arm NEON")
HOPPER = Machine("cuda", "H100", bf16="compute capability 9.0", capability=(9, 0), flash=("flash_attention_2",))
VOLTA = Machine("cuda", "V100", capability=(7, 0))


@pytest.mark.parametrize(
    ("machine", "alone", "precision", "reason"),
    [
        (AVX512, True, FULL, "float32 123 GFLOP/s, bfloat16 25; Server has AVX-512 and none for bfloat16"),
        (AVX512, False, FULL, "AVX-512 and none for bfloat16"),
        (AMX, True, HALF, "bfloat16 900; Newer server has AMX"),
        (AMX, False, HALF, "AMX"),
        (SLOW_FLAG, True, FULL, "bfloat16 60"),
        # Ranks must agree, so they do not go by what each of them measured.
        (SLOW_FLAG, False, HALF, "AVX-512 BF16"),
        (ARM, True, FULL, "Arm NEON"),
        (HOPPER, True, HALF, "compute capability 9.0"),
        (VOLTA, True, FULL, "no bfloat16"),
        (Machine("mps", "mps"), True, FULL, "mps"),
    ],
)
def test_precision_is_what_computes_fastest(machine: Machine, alone: bool, precision: str, reason: str):
    choice = choose_precision(machine, alone=alone)
    assert choice.value == precision and reason in choice.reason


def test_weights_that_do_not_fit_in_float32_are_kept_narrow():
    small = Machine("cpu", "Laptop", free_bytes=8 * 10**9, rates={"float32": 100.0, "bfloat16": 20.0})
    assert choose_precision(small, 10**9).value == FULL
    choice = choose_precision(small, 2 * 10**9)
    assert choice.value == HALF and "8.0 GB" in choice.reason


def test_flash_attention_is_for_half_precision_on_its_gpus():
    assert choose_attention(HOPPER, True).value == "flash_attention_2"
    assert choose_attention(HOPPER, False).value == choose_attention(VOLTA, True).value == "sdpa"
    assert choose_attention(AMX, True).value == "sdpa"


def test_threads_are_the_cores_shared_among_the_ranks_of_a_machine():
    big = Machine("cpu", "Big", cores=16)
    assert choose_threads(big, {}).value == 16
    assert choose_threads(big, {}, ranks=4).value == 4
    assert choose_threads(big, {}, ranks=99).value == 1
    assert choose_threads(big, {"OMP_NUM_THREADS": "3"}).value == 3


def test_spellings_of_half_precision():
    assert all(map(is_half, ("bf16-mixed", "bf16-true", "16-mixed", "bf16", 16)))
    assert not any(map(is_half, ("32-true", "64-true", 32, None)))


def test_this_machine_is_measured_without_a_change_of_threads():
    threads = torch.get_num_threads()
    rates = matrix_rates()
    assert set(rates) == {"float32", "bfloat16"} and min(rates.values()) > 0
    assert torch.get_num_threads() == threads
    assert look("cpu").name and look("cpu") is look("cpu")


def test_parameters_are_counted_from_headers(tiny_llm, tmp_path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llm)
    assert parameter_count(tiny_llm) == sum(p.numel() for p in model.parameters())
    assert parameter_count(tmp_path) is None
