"""The job mechanism: a job, its run, what is recorded of it, and how it is resumed."""
