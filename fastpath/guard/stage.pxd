cimport cython

from fastpath.context cimport RequestContext
from fastpath.guard.classes cimport Classes
from fastpath.guard.label cimport Label
from fastpath.identity.known cimport Known
from fastpath.snapshot cimport Route, Snapshot


@cython.locals(known=Known, before=Label, label=Label)
cpdef classify(RequestContext ctx, Snapshot snapshot, Route route)
cpdef raise_to(RequestContext ctx, Label label)
