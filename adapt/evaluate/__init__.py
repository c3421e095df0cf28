"""Is a ranking any good: metrics, protocols, baselines and how sure to be."""
