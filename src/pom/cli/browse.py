"""The command that serves the web page for looking at a segmented dataset."""

import typer

from pom.cli.annotate import Host, Port, Token
from pom.cli.console import open_project


def browse(port: Port = 8000, host: Host = "127.0.0.1", token: Token = False) -> None:
    """Look at the dataset in the browser.

    Serves the same web page as 'pom annotate', and opens it at what was segmented: an overview, the table of
    'pom summarize', and a gallery of the pictures of 'pom projections' and 'pom render', each narrowed by a query that
    stands in the page's address; a page of each tomogram, with its slices and surfaces; subsets of the tomograms; and
    the settings of features and pictures.
    """
    project = open_project()
    from pom.app.serve import BROWSE, serve

    serve(project, host, port, always_token=token, first=BROWSE, tell=typer.echo)
