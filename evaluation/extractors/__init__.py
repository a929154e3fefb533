"""Extractors: networks and measurements that turn clips into rows of numbers.

One file per extractor holds the network and its settings; `evaluation.extractors.base` is the contract. The extractors
of Shapes World are named ``shapes-*``, so that their numbers are not mistaken for those of I3D or Inception.
"""
