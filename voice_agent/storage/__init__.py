"""Where things are kept between calls: the cache of spoken phrases."""
