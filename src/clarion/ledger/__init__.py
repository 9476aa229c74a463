"""Commands, facts and projectors: the event-sourcing part, storage apart."""
