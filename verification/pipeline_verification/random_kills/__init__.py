"""Random kills: SIGKILL of a random process at a random moment of a day, many times.

After each kill the day is recovered only as the product says. Every table, the published copy and
the dashboard must then equal those of an uninterrupted day and of the oracle, and a reader that
polled the published copy all the time must have seen no error and no half version.
"""
