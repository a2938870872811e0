"""The method: the meta-gradient, the example weights and the model that trains with them.

Section numbers in the docstrings are those of the paper (arXiv 1803.09050). This package depends on
Keras only, not on the project's data sets, flags or files.
"""
