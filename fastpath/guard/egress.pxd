cimport cython

from fastpath.guard.label cimport Label


@cython.locals(tier=str)
cpdef egress(Label label, object place, object masked=*)
