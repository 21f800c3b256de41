"""Annotating in the browser: one page per browser tab, its panels, and the pages' rights to edit.

On disk, without a word of NiceGUI, for any thread:
    document.py         the annotation of one tomogram, shared by all pages that show it
    session.py          who has which tomogram open, and who of them may change it
    current_project.py  the project, whose configuration may change meanwhile
    known.py            what a page has read of an annotation, all in one
    routes.py           the HTTP by which the canvas reads and draws pixels and boxes

One page, in the event loop, which waits for no disk:
    page.py             puts the parts together, and tells canvas and panels what the others have changed
    opening.py          from a tomogram's name to all that is needed to show it
    editing.py          the annotation of the tomogram on the page: kept up to date, with or without the right to edit
    looking.py          how the page looks at it: slice, contrast, layers
    canvas.py, canvas/  the drawing itself, a component in JavaScript

Its panels and small parts: tools.py, features.py with feature_row.py, tomograms.py, jobs.py, suggestions.py, library.py
with preset_dialog.py; banner.py, dialogs.py, address_bar.py; shared.py is what all pages of a server have in common.
"""
