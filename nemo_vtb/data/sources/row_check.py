"""One row as training takes it or refuses it: the index, lint and every other reader ask here."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from nemo_vtb.data.conversations.kinds import ALIGN, kind_of
from nemo_vtb.data.conversations.size import Size
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.plain import PlainRow
from nemo_vtb.data.sources.formats import RowFile, parse_noting, read_plain
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation


class CheckedRow(NamedTuple):
    """A row that can be trained on, as it is in the first epoch.

    Attributes:
        conversation: What it says.
        size: Its lengths; 0 where nobody could measure them.
        clips: How many it has.
    """

    conversation: "NeMoMultimodalConversation"
    size: Size
    clips: int


def checked_row(
    line: bytes, where: str, file: RowFile, weigh: Callable[[Any], Size] | None = None
) -> CheckedRow | None:
    """Parses and weighs a line of a file of rows; its audio is not read.

    Args:
        line: The line.
        where: Its position ``file:line``.
        file: The file; it knows what makes a conversation of a row.
        weigh: Measures a conversation; without it lengths are 0.

    Returns:
        None for an empty line, and for a row that is none of the source's.

    Raises:
        BadRow: If it cannot be trained on.
        VTBError: For something that no row is to blame for, such as a dangerous tar.
    """
    if not line.strip():
        return None
    try:
        draw = parse_noting(file, line, where)
        if draw is None:
            return None
        conversation = draw(0)
        size = weigh(conversation) if weigh is not None else Size(0, 0)
        clips = len(conversation.list_cuts()) if weigh is not None and hasattr(conversation, "list_cuts") else 0
    except VTBError:
        raise
    except Exception as error:
        raise BadRow("unreadable row", f"{type(error).__name__}: {error}") from error
    if weigh is not None and not size.supervised and kind_of(conversation) != ALIGN:
        raise BadRow("nothing supervised", "no token of the conversation would be learnt")
    return CheckedRow(conversation, size, clips)


def plain_size(
    line: bytes, where: str, file: RowFile, weigh: Callable[[Any], Size] | None
) -> tuple[PlainRow, Size] | None:
    """Weighs a line of the plainest shape; None where ``checked_row`` has to be asked.

    Args:
        line: The line.
        where: Its position ``file:line``.
        file: The file.
        weigh: Measures a conversation.

    Raises:
        BadRow: As ``checked_row``.
        VTBError: As ``checked_row``.
    """
    if (weigh_plain := getattr(weigh, "plain", None)) is None:
        return None
    try:
        if (row := read_plain(file, line, where)) is None:
            return None
        size = weigh_plain(row)
    except VTBError:
        raise
    except Exception as error:
        raise BadRow("unreadable row", f"{type(error).__name__}: {error}") from error
    return (row, size) if size is not None and size.supervised else None


def check_length(size: Size, max_total: int | None) -> None:
    """Refuses a conversation that no batch can hold.

    Args:
        size: Its lengths.
        max_total: LLM positions that a conversation may have; None sets no limit.

    Raises:
        BadRow: If it is longer.
    """
    if max_total is not None and size.total > max_total:
        raise BadRow("too long", f"{size.total} LLM positions, batch_tokens allows {max_total}")
