"""The service between front ends and the backend: deadline, single flight, cache, change feed."""

from fingertrio.service.service import STATUS_LIMIT, FingerService, ServicePolicy

__all__ = ["STATUS_LIMIT", "FingerService", "ServicePolicy"]
