"""Version 1 of the HTTP API: one module a noun. `ROUTERS` is all of it; `clarion.web.access` says who may call what."""
