"""A small blog whose readers and authors are told what happens: the example of how a site uses Clarion."""
