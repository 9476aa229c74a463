"""Keys, roles, encryption, tokens, address forms, the outbound guard, clean logs. Knows nothing of the database."""
