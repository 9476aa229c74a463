"""The celery engine: any number of processes on any number of machines, woken by hints through a broker.

A hint names a kind of work, a queue and perhaps a provider. Whoever takes it asks the database what is due, so that
hints may be lost, repeated or come in any order. Nothing but this package imports Celery.
"""
