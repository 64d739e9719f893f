"""Names of concepts, and the test of names. Must not know engines."""
