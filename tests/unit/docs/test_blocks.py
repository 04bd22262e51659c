"""Commands are found in documents, and nothing else is taken for one."""

from pathlib import Path

import pytest

from tests.support.documents import Block, blocks

DOCUMENT = """<!-- any comment --> # Title

```console
$ one --flag \\
    continued
what it says
$ two
```

<!-- exits: 3 -->
```bash
three
```

1. In a list:

   <!-- not run: needs a platform -->
   ```console
   $ four
   ```

<!-- keeps running -->
```console
$ five
```

<!-- site: phase 1 is done -->
```console
$ six
```

```text
$ not typed
```
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return tmp_path / "README.md"


def test_blocks_are_read_with_their_remarks(document: Path) -> None:
    document.write_text(DOCUMENT)
    assert list(blocks(document)) == [
        Block(document, 3, "one --flag \\\ncontinued\ntwo"),
        Block(document, 10, "three\n", exit_code=3),
        Block(document, 17, "four", not_run="needs a platform"),
        Block(document, 22, "five", keeps_running=True),
        Block(document, 27, "six", site="phase 1 is done"),
    ]


def test_a_remark_that_means_nothing_is_refused(document: Path) -> None:
    document.write_text("<!-- not run -->\n```console\n$ one\n```\n")
    with pytest.raises(ValueError, match=r"README.md:1: .*'not run'"):
        list(blocks(document))
