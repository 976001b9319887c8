//! Pairs of connected descriptors of every kind.
