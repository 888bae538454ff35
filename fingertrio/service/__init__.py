"""The service between front ends and the backend: deadline, single flight, cache, change feed."""

from fingertrio.service.policy import ServicePolicy
from fingertrio.service.service import FingerService

__all__ = ["FingerService", "ServicePolicy"]
