"""What becomes of an upload on its way to the server: a page for each step, and how steps make a chain.

Pure functions of what one client sends, of any method whose server takes means.
"""
