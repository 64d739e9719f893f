"""The stages of an atlas: what knows config, folder and progress at once. Must not know formulas."""
