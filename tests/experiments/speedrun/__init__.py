"""How accurate on photographs is a student, for each CPU minute of its training?

    python -m tests.experiments.speedrun --pairs DIR [--arms NAME …] [--seeds 1 2 3]

docs/SPEEDRUN.md says what is fixed, how it is run and read, and how an arm is added.
"""
