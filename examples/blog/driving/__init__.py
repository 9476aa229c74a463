"""Drives the blog like a crowd of people would, and checks what Clarion made of it. For `drive.py` alone."""
