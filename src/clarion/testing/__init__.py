"""For tests of Clarion and of what is built on it: contract suites, fakes, assertions. Never used in production."""
