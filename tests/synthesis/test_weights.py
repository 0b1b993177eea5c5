"""Names that stand in a list several times, each with its weight."""

from nemo_vtb.options import weights
from nemo_vtb.synthesis.qa.options import QAFilters, QAOptions, Recording, ReplyOptions


def test_a_name_that_stands_there_twice_has_both_weights():
    assert weights([("a", 1.0), ("b", 2.0), ("a", 0.5)]) == {"a": 1.5, "b": 2.0}


def test_a_file_of_prompts_named_twice_is_drawn_as_often_as_both_say():
    options = QAOptions(
        source={},
        language="en",
        recording=Recording([1.0, 30.0], [4, 400], 2000),
        prompt_files=["single*2", "several", "single"],
        reply=ReplyOptions(0.3, 0.9, 96),
        filters=QAFilters([3, 30], [1, 40], 0.6, 0.9, False),
        copy_audio=False,
    )
    assert options.drawn_files() == {"single": 3.0, "several": 1.0}
