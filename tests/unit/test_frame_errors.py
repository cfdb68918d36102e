"""Every code that a worker can store for a frame has a sentence, and no sentence is for nothing."""

from typing import get_args

from models.imaging.archive import MemberCode
from models.imaging.decode import DECODE_CODES
from service.domain.frame_errors import FRAME_ERRORS
from workers.sandbox_client import LostCode


def test_the_sentences_are_for_exactly_the_codes_of_decoder_archive_and_sandbox():
    assert set(FRAME_ERRORS) == {*DECODE_CODES, *get_args(MemberCode), *get_args(LostCode)}
