"""Looking at a dataset in the browser: what is in it, as figures and as pictures."""
