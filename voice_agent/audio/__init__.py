"""Bytes and samples: mu-law, PCM, resampling, tones. Pure: no I/O and no clock."""
