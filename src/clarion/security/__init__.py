"""Keys, roles, encryption, tokens, forms of addresses, the outbound guard, clean logs. Nothing here touches the database."""
