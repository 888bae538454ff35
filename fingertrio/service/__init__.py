"""The service between front ends and the backend: deadline, single flight, cache, change feed."""

from fingertrio.service.service import FingerService, ServicePolicy

__all__ = ["FingerService", "ServicePolicy"]
