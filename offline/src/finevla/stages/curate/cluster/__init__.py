"""Pure clustering of distances: trees, cuts, medoids, outliers, and proof that float32 tipped nothing.

`tree` grows a dendrogram, `cut` and `recurse` cut it, `medoids` and `outliers` say who stands for a cluster
and who does not belong, `certify` makes all of that exact from approximate distances, `sparse` does the
same where only the pairs below a threshold are known, `agreement` compares a partition with known labels.
"""
