"""Questions that a trained adapter is asked: a few of one's own, or a whole dataset."""
