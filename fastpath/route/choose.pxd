from fastpath.runtime cimport Runtime
from fastpath.snapshot cimport Route, Target


cpdef Target choose(Route route, tuple left, Runtime runtime)
