"""The HTTP face: the API of version 1, the pages. Speaks HTTP and nothing else; the work is done below."""
