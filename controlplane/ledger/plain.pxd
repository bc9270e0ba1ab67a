from controlplane.ledger.dockets cimport Docket


cpdef object settle_plain(Docket docket, object policy, object numbering, object now)
cdef object _told(object end)
cdef object _amounts(object intent, object usage)
cdef object _written(object intent, object end, object usage, object amounts, object numbering, object now)
