"""Images in, pictures out: data sets, labels, decoding, crops and sheets. Must not know models."""
