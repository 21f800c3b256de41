"""The command that serves the web page for annotating."""

from typing import Annotated

import typer

from pom.cli.console import open_project

Port = Annotated[
    int,
    typer.Option(
        "-port", "--port", metavar="NUMBER", min=0, max=65535, help="Where the server listens; 0: any free port."
    ),
]
Host = Annotated[
    str,
    typer.Option(
        "-host",
        "--host",
        metavar="ADDRESS",
        help="The address of this machine to listen at. On any but a loopback address the server wants the token that"
        " is part of the address which it prints.",
    ),
]
Token = Annotated[
    bool,
    typer.Option(
        "-token",
        "--token",
        help="Want the token on a loopback address too: for a machine on which others have accounts, who could open"
        " the page as well as you.",
    ),
]


def annotate(port: Port = 8000, host: Host = "127.0.0.1", token: Token = False) -> None:
    """Annotate in the browser.

    Serves a web page from the machine where the tomograms are, and prints its address. Draw on your own machine,
    through an SSH tunnel: the line below the address tells how. The page goes on until Ctrl-C; what was drawn is
    saved after every stroke.
    """
    project = open_project()
    from pom.app.serve import serve

    serve(project, host, port, always_token=token, tell=typer.echo)
