"""The heart: the meta-gradient, the weights and the model that trains with them.

Section numbers in the docstrings are those of the paper (arXiv 1803.09050). The package knows Keras
and nothing of data sets, flags or files.
"""
