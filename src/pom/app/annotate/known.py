"""What a page knows of the annotation on disk."""

from dataclasses import dataclass

from pom.app.annotate.document import Stamp, Version
from pom.app.annotate.session import Session
from pom.errors import PomError
from pom.io.annotation_store import StoredFeature
from pom.jobs.editing import Editor


@dataclass(frozen=True)
class Known:
    """What was read last; the page shows this, and never waits for a disk itself."""

    features: tuple[StoredFeature, ...] = ()
    removed: tuple[StoredFeature, ...] = ()
    """Those that can be put back, where this page may do so."""
    stamp: Stamp = ""
    """Of the annotation with these features, or of one a moment before."""
    editor: Editor | None = None
    """Who else edits it."""
    fault: str = ""
    """Why it cannot be read, a sentence."""
    version: Version | None = None
    """What this page made of it, None where it may not edit; read before the features, lest it draws on older ones."""


def know(session: Session) -> Known:
    """Reads what there is to know of the tomogram of a page; to be called in a thread."""
    version, stamp = session.version, ""
    try:
        stamp = session.document.stamp
        features = session.document.features()
        removed = session.document.removed_features() if version else ()
        editor = None if version else session.other_editor()
        return Known(features, removed, stamp, editor, version=version)
    except PomError as error:
        fault = str(error)
    except OSError as error:
        fault = f"The annotation of {session.name} cannot be read ({error.strerror or error}): check that disk."
    return Known(stamp=stamp, fault=fault, version=version)
