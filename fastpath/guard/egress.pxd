from fastpath.guard.label cimport Label


cpdef egress(Label label, object place, object masked=*)
