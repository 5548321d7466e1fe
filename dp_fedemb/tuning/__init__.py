"""Many runs: cells of a table or trials of a search, side by side, and their accounting.

cells        one run as flags of a program, its command and its record
running      runs them side by side, each in a process of its own, going on where it was
results      what the runs came to, as Markdown and CSV
figures      lines over a setting, and parallel coordinates of a search
search       grids and random draws of settings
selection    the best of a secret number of trials, and nothing else
"""
