"""Work that many processes on many servers share out among themselves through a folder."""
