"""Of the tests themselves: with ``POM_TEST_ALL=1`` none is skipped without a word."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "test_plain.py": """
        import pytest
        @pytest.fixture
        def browser(): pytest.skip("no browser")
        def test_with_a_fixture(browser): pass
        @pytest.mark.skipif(True, reason="no root")
        def test_marked(): pass
        def test_in_the_middle(): pytest.skip("no disk")
        @pytest.mark.xfail(raises=OSError)
        def test_expected_to_fail(): raise OSError
        def test_that_runs(): pass
    """,
    "test_module.py": """
        import pytest
        pytest.importorskip("no_such_module")
    """,
}


@pytest.mark.parametrize(
    ("must_run", "summary"),
    [("", "1 passed, 4 skipped, 1 xfailed"), ("1", "1 failed, 1 passed, 1 xfailed, 3 errors")],
)
def test_a_skip_is_an_error_where_all_must_run(tmp_path: Path, must_run: str, summary: str) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    for name, text in TESTS.items():
        (tmp_path / name).write_text("if True:" + text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", "-ra"]
    environment = {**os.environ, "POM_TEST_ALL": must_run}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines()[-1].strip("= ").startswith(summary), ran.stdout + ran.stderr
    assert ran.returncode == (1 if must_run else 0)
    for reason in ("no browser", "no root", "no disk", "could not import 'no_such_module'"):
        assert reason in ran.stdout
