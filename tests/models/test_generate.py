"""Answers to several prompts at once."""

import pytest
import torch

from nemo_vtb.errors import VTBError


@pytest.fixture(scope="module")
def model(slim_cfg):
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    torch.manual_seed(1)
    return VoiceTextBlender(slim_cfg()).eval()


def test_the_frozen_head_is_not_copied_for_every_prompt(model):
    # PyTorch multiplies a strided batch of last positions with one copy of a frozen weight per row.
    prompts = [[{"role": "user", "content": text}] for text in ("One.", "Two of them.", "And three.")]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as seen:
        model.generate(prompts, max_new_tokens=2, min_new_tokens=2)
    copies = [shape for event in seen.events() if event.name == "aten::bmm" for shape in event.input_shapes]
    assert [len(prompts), model.llm.config.hidden_size, model.llm.config.vocab_size] not in copies


HELLO = [[{"role": "user", "content": "Hello."}]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_new_token": 3}, "generate has no option max_new_token: did you mean max_new_tokens?"),
        ({"max_new_tokens": 0}, "the options of generate: `max_new_tokens` must be greater than 0"),
        ({"max_length": 2}, "max_length=2 counts the prompt in"),
        ({"guidance_scale": 1.5}, "guidance_scale cannot be had"),
        ({"audios": torch.zeros(1, 16000)}, "audios and audio_lens go together"),
        ({"audios": torch.zeros(1, 16000), "audio_lens": torch.tensor([16001])}, r"audio_lens says \[16001\] samples"),
    ],
)
def test_options_that_would_change_nothing_or_fail_inside_are_refused(model, options, sentence):
    with pytest.raises(VTBError, match=sentence):
        model.generate(HELLO, **options)


@pytest.mark.parametrize(
    "prompts", [[], ["Hello."], [[]], [[{"role": "user"}]], [[{"role": "user", "content": ["a"]}]]]
)
def test_prompts_that_are_no_conversations_are_refused(model, prompts):
    with pytest.raises(VTBError, match=r"no prompts|is no conversation"):
        model.generate(prompts)


def test_the_words_of_a_turn_may_stand_in_slots_as_in_nemo(model):
    slots = [[{"role": "user", "slots": {"message": "Hello."}}]]
    assert model.generate(slots, max_new_tokens=3).equal(model.generate(HELLO, max_new_tokens=3))


def test_what_generate_takes_besides_a_config_reaches_it(model):
    class Heard:
        tokens = 0

        def put(self, value):
            self.tokens += value.numel()

        def end(self):
            self.ended = True

    heard = Heard()
    answers = model.generate(HELLO, max_new_tokens=3, min_new_tokens=3, streamer=heard)
    assert heard.ended and heard.tokens >= 3
    words = model.tokenizer.ids_to_text(answers[0].tolist())
    again = model.generate(HELLO, max_new_tokens=3, stop_strings=[words[:1]])
    assert again.shape[1] <= answers.shape[1]


def test_an_answer_in_the_middle_of_training_is_that_of_evaluation(slim_cfg):
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    learning = VoiceTextBlender(slim_cfg(lora={"r": 4, "lora_alpha": 8, "lora_dropout": 0.9, "target_modules": "auto"}))
    with torch.no_grad():
        for name, parameter in learning.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    learning.train()
    found = [learning.generate(HELLO, max_new_tokens=8, min_new_tokens=8) for _ in range(2)]
    assert learning.training and learning.llm.training
    assert found[0].equal(found[1]) and found[0].equal(
        learning.eval().generate(HELLO, max_new_tokens=8, min_new_tokens=8)
    )
