"""Pure functions run in a process of their own, which is ended when it takes too long: the only way to stop C code.

`processes` is the side that asks, `child` the program that answers. What is asked for is named ("module:function"), so
that nothing here knows what others compute.
"""
