"""The admin front end: /metrics, /healthz and /readyz for operators."""
