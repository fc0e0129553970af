from plait.cache import FeatureCache

__all__ = ["FeatureCache"]
