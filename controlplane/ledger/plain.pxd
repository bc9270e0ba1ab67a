from controlplane.ledger.dockets cimport Docket


cpdef object settle_plain(Docket docket, object policy, object numbering, object now)
cdef object _told(object attempt)
