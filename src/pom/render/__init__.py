"""Pictures: projections, surfaces and 3-D views, no display needed."""
