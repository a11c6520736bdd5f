"""What a server makes of a cohort's changes where it takes no mean of them: a page for each rule.

Rules are pure functions of the changes of K clients, of which the first n are there.
"""
