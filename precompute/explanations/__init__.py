"""The numbers of one photo's explanation. Must not know words."""
