from fastpath.context cimport RequestContext
from fastpath.guard.classes cimport Classes
from fastpath.guard.label cimport Label
from fastpath.snapshot cimport Route, Snapshot


cpdef classify(RequestContext ctx, Snapshot snapshot, Route route)
cpdef raise_to(RequestContext ctx, Label label)
