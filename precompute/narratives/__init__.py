"""The words of one photo's explanation. Must not know HTTP or pages."""
