"""The nouns of Clarion as frozen values. Pure: no I/O, no clock, no randomness."""
