"""People in the loop: tickets that runs open, who may decide them, the inbox, and the one door through which it is done.

What a ticket is stands in the run's log; the table `ticket` is its projection, written by `runs`.
"""
