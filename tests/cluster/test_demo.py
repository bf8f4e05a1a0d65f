"""The demo, run as a user would, without a terminal."""

import re

from honeydew_ray.demo.library import python_files, standard_library
from tests.cluster.scripts import run_script


def test_the_demo_accounts_for_every_file_and_recovers_from_both_accidents() -> None:
    finished = run_script("-m", "honeydew_ray.cli", "demo")
    assert finished.code == 0, str(finished)
    files = len(python_files(standard_library()))
    account = {name: int(number) for name, number in re.findall(r"^(\w[\w ]*?) +(\d+)\b", finished.output, re.MULTILINE)}
    assert account["files found"] == files, str(finished)
    assert account["analysed"] + account["lines counted only"] == files
    assert (account["accidents"], account["failed"], account["missing"]) == (2, 0, 0)
    assert re.search(r"^! \S+\.py: signal 9 killed its worker; Retry .* \d+ ms later; done at attempt 2$", finished.output, re.MULTILINE)
    assert re.search(r"^! \S+\.py: its job raised ConnectionError; Retry .* done at attempt 2$", finished.output, re.MULTILINE)
    assert "files/s" in finished.output
    assert "\x1b" not in finished.output
    assert finished.output.endswith("Every file is accounted for.\n")
    assert finished.errors == ""
