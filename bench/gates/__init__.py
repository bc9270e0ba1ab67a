"""Gates: what Fastpath costs may not grow. `instructions` counts, `ratios` compares with haproxy and nginx in one run,
bench.micro compares kernels with their twins; `prove` plants a slowdown before each and sees it fail.
"""
