"""Self-blended images: pseudo-fakes made of one real picture and its landmarks.

Pure functions on numpy in ``augment`` (one of two copies changed), ``regions`` (the mask) and ``blend`` (what is drawn,
and the two copies put together); ``dataset`` lists and reads.
"""
