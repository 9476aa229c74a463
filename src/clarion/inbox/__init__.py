"""The in-app inbox: the feed of a person's notifications, its counters, what the person does with them."""
