"""The README, the tutorial and the how-to pages do what they say."""

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, pages, title_of
from tests.docs.walkthrough import Walkthrough
from tests.support.servers import S3Server, make_bucket

_S3 = DOCS / "howto" / "run-on-s3.md"
_FOLLOWED = [
    ROOT / "README.md",
    DOCS / "tutorial.md",
    *(page for page in sorted((DOCS / "howto").glob("*.md")) if page != _S3),
]


@pytest.mark.slow
@pytest.mark.parametrize("page", _FOLLOWED, ids=title_of)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    Walkthrough(page, tmp_path).follow()


@pytest.mark.slow
@pytest.mark.s3
def test_the_page_on_s3_holds_on_a_server(moto: S3Server, tmp_path: Path) -> None:
    make_bucket(moto, "warehouse")
    environment = {
        "S3_ENDPOINT": moto.endpoint_url,
        "AWS_ACCESS_KEY_ID": moto.key,
        "AWS_SECRET_ACCESS_KEY": moto.secret,
    }
    Walkthrough(_S3, tmp_path, environment).follow()


@pytest.mark.parametrize("page", pages(), ids=title_of)
def test_every_python_block_compiles(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, f"{title_of(page)}:{block.line}", "exec")


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    left_out = {(title_of(page), block.reason) for page in pages() for block in blocks(page) if block.reason}
    assert len(left_out) <= 12, sorted(left_out)


def test_a_wrong_output_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo one two\none three\n```\n")
    with pytest.raises(AssertionError, match="one three"):
        Walkthrough(page, tmp_path).follow()


def test_dots_stand_for_text_and_for_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ printf 'a 1 b\\nc\\nd\\ne\\n'\na   ...  b\n...\ne\n```\n")
    Walkthrough(page, tmp_path).follow()


def test_a_command_that_fails_must_be_expected_to(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ false\n```\n")
    with pytest.raises(AssertionError, match="false"):
        Walkthrough(page, tmp_path).follow()
