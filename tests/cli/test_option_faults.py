import pytest
from typer.testing import CliRunner

from pom.cli.main import app


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("shared process -overwrite 2", "'-overwrite' / '--overwrite': '2' is not one of '0', '1'."),
        ("projections -o 2", "'-o' / '-overwrite' / '--overwrite': '2' is not one of '0', '1'."),
        ("projections -p 0", "'-p' / '-processes' / '--processes': 0 is too little: give 1 or more."),
        ("projections -p two", "'-p' / '-processes' / '--processes': 'two' is no whole number."),
        ("browse --port 1.5", "'-port' / '--port': '1.5' is no whole number."),
        ("browse --port 99999", "'-port' / '--port': 99999 is too much: give 65535 or less."),
    ],
)
def test_wrong_values_of_options_are_said_in_plain_words(arguments: str, said: str) -> None:
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: Invalid value for {said}"
