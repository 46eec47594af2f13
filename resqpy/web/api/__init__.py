"""The HTTP API: one table of endpoints, from which routes, checks, the OpenAPI document and the reference come."""
